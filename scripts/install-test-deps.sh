#!/usr/bin/env bash
# Installs what the tests need besides Rust, on Debian: a real RabbitMQ, Prometheus's promtool, systemd-analyze, a browser,
# another AMQP client. Says nothing and takes no time when all of it is there.
#
# Tests start what they need by themselves: no service is left running.
set -euo pipefail

# rabbitmq-server    the broker that tests of the bus start, each test binary a node of its own
# openssl            certificates for that broker
# prometheus         promtool, which checks and tests the alerts
# systemd            systemd-analyze, which checks the unit
# chromium           the pages as a person sees them
# python3-pika       a client of AMQP that is not ours publishes what we read
packages=(rabbitmq-server openssl prometheus systemd chromium python3-pika)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "This is not Debian: please install what corresponds to these packages: ${packages[*]}." >&2
    exit 1
fi

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Installing needs root. Please run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

# Packages start their services when they are installed, unless this file says no (101). One that is there stays as it is.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 0755 "$policy"
elif [ "$(sh "$policy" rabbitmq-server start >/dev/null 2>&1; echo $?)" -ne 101 ]; then
    echo "$policy lets packages start their services: the installed RabbitMQ and Prometheus may be running afterwards." >&2
fi

echo "Installing ${missing[*]}." >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update --quiet --quiet
"${as_root[@]}" apt-get install --quiet --quiet --yes --no-install-recommends "${missing[@]}" >/dev/null
