//! The kinds of mistakes, each with a stable name.

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $meaning:literal;)*) => {
        /// The kind of a mistake. The word is stable: filters and suppressions may rely on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// All codes, in the order of the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The word in brackets after `error` or `warning`.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text),* }
            }

            /// What the mistake is, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$name => $meaning),* }
            }
        }
    };
}

codes! {
    Unreadable = "unreadable", "The file cannot be read, is too large, or is not UTF-8.";
    YamlSyntax = "yaml-syntax", "The text is not YAML.";
    DuplicateKey = "duplicate-key", "A key is written twice in one mapping.";
    UnknownKey = "unknown-key", "A key has no meaning here.";
    MissingKey = "missing-key", "A key that must be written is missing.";
    WrongType = "wrong-type", "A value has another type than its key wants.";
    InvalidValue = "invalid-value", "A value is not one of those its key allows.";
    OutOfRange = "out-of-range", "A number is outside its range.";
    DuplicateName = "duplicate-name", "Two rules, budgets or lists have the same name.";
    UnknownName = "unknown-name", "A budget, list or rule that is named does not exist.";
    Conflict = "conflict", "Two parts of a rule cannot go together.";
    UnknownField = "unknown-field", "The event has no such field.";
    ExprSyntax = "expression-syntax", "The expression cannot be read.";
    OutsideSubset = "outside-subset", "CEL has it, this language leaves it out.";
    UnknownFunction = "unknown-function", "There is no function of this name.";
    WrongArguments = "wrong-arguments", "A function is given too many, too few, or the wrong kind of arguments.";
    TypeMismatch = "type-mismatch", "An operator is given types that do not go together.";
    BadRegex = "bad-regex", "A regular expression cannot be compiled.";
    BadLiteral = "bad-literal", "A number, duration, time or pattern is written wrongly.";
    TooComplex = "too-complex", "Something is larger or nested deeper than the limit.";
    NeverMatches = "never-matches", "The rule can never match any event.";
    Shadowed = "shadowed", "An earlier rule with the same condition opens the same case first.";
    UnusedBudget = "unused-budget", "No rule draws on the budget.";
    UnusedList = "unused-list", "No rule uses the list.";
    MissingDescription = "missing-description", "The rule does not say what it is for.";
    NoBudget = "no-budget", "The rule asks for jobs without naming a budget.";
    RegexMatchesAll = "regex-matches-all", "A regular expression matches every text.";
    ConstantCondition = "constant-condition", "A part of a condition is always true or always false.";
    EmptyRules = "empty-rules", "The files hold no rule.";
    TomlSyntax = "toml-syntax", "A configuration is not TOML.";
    NoSecret = "no-secret", "A secret that a configuration refers to is not there where it was checked.";
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
