"""Publishes messages to a broker, as the services of a CI do, with a client library that is not sheriffd's own.

    publish.py AMQP_URL FILE

FILE holds a JSON object a line: `exchange`, and unless the exchange is only to be declared `routingKey`, `cc` (further
routing keys) and the body as `payload` (JSON) or `base64` (any bytes). Every message is persistent and confirmed by
the broker before the next is sent.
"""

import base64
import json
import sys

import pika


def body(line):
    if "base64" in line:
        return base64.b64decode(line["base64"])
    return json.dumps(line["payload"]).encode()


def main(url, path):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    declared = set()
    with open(path, encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            exchange = line["exchange"]
            if exchange not in declared:
                channel.exchange_declare(exchange, exchange_type="topic", durable=True)
                declared.add(exchange)
            if "routingKey" in line:
                headers = {"CC": line["cc"]} if line.get("cc") else None
                channel.basic_publish(
                    exchange,
                    line["routingKey"],
                    body(line),
                    pika.BasicProperties(content_type="application/json", delivery_mode=2, headers=headers),
                )
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
