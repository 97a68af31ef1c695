//! Tokens to a syntax tree, by precedence climbing.
//!
//! In: the text of an expression. Out: an [`Ast`] with a place for every node, or the first syntax error. Never: types.
//! The grammar is CEL's (cel-spec, "Syntax"), without map and message literals and without `null`.

use std::ops::Range;

use super::lex::{Token, lex};
use super::{ExprError, Parsed};
use crate::code::Code;
use crate::diagnostic::one_of;

/// The deepest nesting of an expression: bounds the recursion of parser, checker and evaluator.
const MAX_DEPTH: usize = 64;

/// A node of the syntax tree.
#[derive(Debug, Clone)]
pub(super) struct Ast {
    pub node: Node,
    /// Its place in the text, in bytes.
    pub span: Range<usize>,
    depth: usize,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Name(String),
    Member {
        of: Box<Ast>,
        name: String,
        name_span: Range<usize>,
    },
    Call {
        of: Option<Box<Ast>>,
        name: String,
        name_span: Range<usize>,
        args: Vec<Ast>,
    },
    Index(Box<Ast>, Box<Ast>),
    Not(Box<Ast>),
    Minus(Box<Ast>),
    Binary {
        op: Binary,
        op_span: Range<usize>,
        left: Box<Ast>,
        right: Box<Ast>,
    },
    And(Vec<Ast>),
    Or(Vec<Ast>),
    Ternary(Box<[Ast; 3]>),
    List(Vec<Ast>),
}

/// An operator between two values, without `&&` and `||`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
}

impl Binary {
    pub fn as_str(self) -> &'static str {
        match self {
            Binary::Equal => "==",
            Binary::NotEqual => "!=",
            Binary::Less => "<",
            Binary::LessEqual => "<=",
            Binary::Greater => ">",
            Binary::GreaterEqual => ">=",
            Binary::In => "in",
            Binary::Plus => "+",
            Binary::Minus => "-",
            Binary::Times => "*",
            Binary::Divide => "/",
            Binary::Remainder => "%",
        }
    }

    /// Operators that bind equally tight share a level; a higher one binds tighter.
    fn level(self) -> u8 {
        match self {
            Binary::Plus | Binary::Minus => 2,
            Binary::Times | Binary::Divide | Binary::Remainder => 3,
            _ => 1,
        }
    }

    fn of(token: &Token) -> Option<Binary> {
        const ALL: [Binary; 12] = [
            Binary::Equal,
            Binary::NotEqual,
            Binary::Less,
            Binary::LessEqual,
            Binary::Greater,
            Binary::GreaterEqual,
            Binary::In,
            Binary::Plus,
            Binary::Minus,
            Binary::Times,
            Binary::Divide,
            Binary::Remainder,
        ];
        let word = match token {
            Token::Sign(sign) => sign,
            Token::Ident(word) => word.as_str(),
            _ => return None,
        };
        ALL.into_iter().find(|op| op.as_str() == word)
    }
}

/// Words that CEL reserves (cel-spec, "RESERVED"); `and`, `or`, `not` are what people write for `&&`, `||`, `!`.
const RESERVED: [&str; 18] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
    "null",
];

struct Parser<'t> {
    tokens: &'t [(Token, Range<usize>)],
    at: usize,
    depth: usize,
}

/// Reads a whole text as one expression.
pub(super) fn parse(text: &str) -> Parsed<Ast> {
    let tokens = lex(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
    };
    if matches!(parser.peek(), Token::End) {
        return Err(ExprError::new(Code::ExprSyntax, 0..0, "the expression is empty")
            .expected("a condition such as `event.tier == 1`"));
    }
    let ast = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(ast),
        _ => Err(parser.unexpected("the end, or an operator such as `&&`")),
    }
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        // The last token is `End`, and nothing steps past it.
        &self.tokens[self.at.min(self.tokens.len() - 1)].0
    }

    fn span(&self) -> Range<usize> {
        self.tokens[self.at.min(self.tokens.len() - 1)].1.clone()
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect(&mut self, sign: &str, why: &str) -> Parsed<Range<usize>> {
        let span = self.span();
        if self.accept(sign) {
            Ok(span)
        } else {
            Err(self.unexpected(&format!("`{sign}` {why}")))
        }
    }

    /// The error for a token that cannot stand here.
    fn unexpected(&self, expected: &str) -> ExprError {
        let span = self.span();
        let found = match self.peek() {
            Token::End => "the expression ends here".to_owned(),
            Token::Ident(word) => format!("`{word}` cannot stand here"),
            Token::Sign(sign) => format!("`{sign}` cannot stand here"),
            Token::Int(number) => format!("`{number}` cannot stand here"),
            Token::IntBound => format!("`{}` cannot stand here", i64::MIN.unsigned_abs()),
            Token::Double(number) => format!("`{number}` cannot stand here"),
            Token::Text(_) => "a text cannot stand here".to_owned(),
        };
        let code = match self.peek() {
            Token::Sign("{") => Code::OutsideSubset,
            _ => Code::ExprSyntax,
        };
        let error = ExprError::new(code, span, found).expected(expected);
        match self.peek() {
            Token::Ident(word) if word == "and" => error.suggest("\"and\" is written `&&`"),
            Token::Ident(word) if word == "or" => error.suggest("\"or\" is written `||`"),
            Token::Ident(word) if word == "not" => error.suggest("\"not\" is written `!`, and \"not in\" `!(a in b)`"),
            Token::Ident(word) if word == "is" => error.suggest("equality is written `==`"),
            Token::Sign("|") => error.suggest("\"or\" is written `||`"),
            Token::Sign("{") => error.suggest("maps are not part of this language; a list is written `[a, b]`"),
            _ => error,
        }
    }

    /// Builds a node; refuses one that is nested too deep.
    fn node(&self, node: Node, span: Range<usize>) -> Parsed<Ast> {
        let deepest = match &node {
            Node::Bool(_) | Node::Int(_) | Node::Double(_) | Node::Text(_) | Node::Name(_) => 0,
            Node::Member { of, .. } | Node::Not(of) | Node::Minus(of) => of.depth,
            Node::Call { of, args, .. } => args
                .iter()
                .map(|ast| ast.depth)
                .chain(of.iter().map(|ast| ast.depth))
                .max()
                .unwrap_or(0),
            Node::Index(left, right) | Node::Binary { left, right, .. } => left.depth.max(right.depth),
            Node::And(list) | Node::Or(list) | Node::List(list) => list.iter().map(|ast| ast.depth).max().unwrap_or(0),
            Node::Ternary(parts) => parts.iter().map(|ast| ast.depth).max().unwrap_or(0),
        };
        let depth = deepest + 1;
        if depth > MAX_DEPTH {
            return Err(too_deep(span));
        }
        Ok(Ast { node, span, depth })
    }

    /// `condition ? a : b`, or what binds tighter.
    fn expression(&mut self) -> Parsed<Ast> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.span()));
        }
        let condition = self.or()?;
        let ast = if self.accept("?") {
            let yes = self.or()?;
            self.expect(":", "between the two values of `condition ? a : b`")?;
            let no = self.expression()?;
            let span = condition.span.start..no.span.end;
            self.node(Node::Ternary(Box::new([condition, yes, no])), span)?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(ast)
    }

    fn or(&mut self) -> Parsed<Ast> {
        self.chain("||", Self::and, Node::Or)
    }

    fn and(&mut self) -> Parsed<Ast> {
        self.chain("&&", |parser| parser.binary(1), Node::And)
    }

    /// `a sign b sign c` as one node, so that long conditions do not nest.
    fn chain(
        &mut self,
        sign: &str,
        mut part: impl FnMut(&mut Self) -> Parsed<Ast>,
        make: fn(Vec<Ast>) -> Node,
    ) -> Parsed<Ast> {
        let first = part(self)?;
        if !self.is(sign) {
            return Ok(first);
        }
        let start = first.span.start;
        let mut end = first.span.end;
        let mut parts = vec![first];
        while self.accept(sign) {
            let next = part(self)?;
            end = next.span.end;
            parts.push(next);
        }
        self.node(make(parts), start..end)
    }

    fn binary(&mut self, level: u8) -> Parsed<Ast> {
        let mut left = self.unary()?;
        while let Some(op) = Binary::of(self.peek()).filter(|op| op.level() >= level) {
            let op_span = self.span();
            self.at += 1;
            let right = self.binary(op.level() + 1)?;
            let span = left.span.start..right.span.end;
            left = self.node(
                Node::Binary {
                    op,
                    op_span,
                    left: Box::new(left),
                    right: Box::new(right),
                },
                span,
            )?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Ast> {
        let start = self.span().start;
        let make: fn(Box<Ast>) -> Node = if self.accept("!") {
            Node::Not
        } else if self.accept("-") {
            // The sign belongs to the literal, so that `-1` is a constant.
            let number = match *self.peek() {
                Token::Int(number) => Some(-number),
                Token::IntBound => Some(i64::MIN),
                _ => None,
            };
            if let Some(number) = number {
                let end = self.span().end;
                self.at += 1;
                let literal = self.node(Node::Int(number), start..end)?;
                return self.postfix(literal);
            }
            Node::Minus
        } else {
            let primary = self.primary()?;
            return self.postfix(primary);
        };
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.span()));
        }
        let of = self.unary()?;
        self.depth -= 1;
        let span = start..of.span.end;
        self.node(make(Box::new(of)), span)
    }

    /// What may follow a value: `.name`, `.name(…)`, `[…]`.
    fn postfix(&mut self, mut ast: Ast) -> Parsed<Ast> {
        loop {
            let start = ast.span.start;
            if self.accept(".") {
                let name_span = self.span();
                let Token::Ident(name) = self.peek().clone() else {
                    return Err(self.unexpected("a name after the dot"));
                };
                self.at += 1;
                if self.accept("(") {
                    let (args, end) = self.list(")", "after the last argument")?;
                    ast = self.node(
                        Node::Call {
                            of: Some(Box::new(ast)),
                            name,
                            name_span,
                            args,
                        },
                        start..end,
                    )?;
                } else {
                    let end = name_span.end;
                    ast = self.node(
                        Node::Member {
                            of: Box::new(ast),
                            name,
                            name_span,
                        },
                        start..end,
                    )?;
                }
            } else if self.accept("[") {
                let index = self.expression()?;
                let end = self.expect("]", "after the index")?.end;
                ast = self.node(Node::Index(Box::new(ast), Box::new(index)), start..end)?;
            } else {
                return Ok(ast);
            }
        }
    }

    /// Expressions with commas between them, up to the closing sign.
    fn list(&mut self, close: &str, why: &str) -> Parsed<(Vec<Ast>, usize)> {
        let mut list = Vec::new();
        loop {
            let end = self.span().end;
            if self.accept(close) {
                return Ok((list, end));
            }
            list.push(self.expression()?);
            if !self.accept(",") {
                let end = self.expect(close, &format!("{why}, or a comma"))?.end;
                return Ok((list, end));
            }
        }
    }

    fn primary(&mut self) -> Parsed<Ast> {
        let span = self.span();
        let node = match self.peek().clone() {
            Token::Int(number) => Node::Int(number),
            Token::IntBound => {
                let message = format!("`{}` is not a number of 64 bits", i64::MIN.unsigned_abs());
                return Err(ExprError::new(Code::BadLiteral, span, message));
            }
            Token::Double(number) => Node::Double(number),
            Token::Text(text) => Node::Text(text),
            Token::Ident(word) => return self.word(word, span),
            Token::Sign("(") => {
                self.at += 1;
                let mut inner = self.expression()?;
                let close = self.expect(")", "for the bracket that was opened")?;
                inner.span = span.start..close.end;
                return Ok(inner);
            }
            Token::Sign("[") => {
                self.at += 1;
                let (list, end) = self.list("]", "after the last element")?;
                return self.node(Node::List(list), span.start..end);
            }
            _ => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        self.node(node, span)
    }

    fn word(&mut self, word: String, span: Range<usize>) -> Parsed<Ast> {
        if matches!(word.as_str(), "in" | "and" | "or" | "is") {
            return Err(self.unexpected("a value"));
        }
        if RESERVED.contains(&word.as_str()) {
            let error = ExprError::new(
                Code::OutsideSubset,
                span,
                format!("`{word}` is not part of this language"),
            );
            return Err(match word.as_str() {
                "null" => error.suggest("whether a fact is known is asked with `has(event.field)`"),
                "if" | "else" => error.suggest("a choice is written `condition ? a : b`"),
                _ => error,
            });
        }
        self.at += 1;
        match word.as_str() {
            "true" => self.node(Node::Bool(true), span),
            "false" => self.node(Node::Bool(false), span),
            _ if self.accept("(") => {
                let (args, end) = self.list(")", "after the last argument")?;
                self.node(
                    Node::Call {
                        of: None,
                        name: word,
                        name_span: span.clone(),
                        args,
                    },
                    span.start..end,
                )
            }
            "True" | "TRUE" | "False" | "FALSE" => {
                Err(
                    ExprError::new(Code::ExprSyntax, span, format!("`{word}` is not a value")).suggest(format!(
                        "did you mean {}?",
                        one_of([word.to_ascii_lowercase().as_str()])
                    )),
                )
            }
            _ => self.node(Node::Name(word), span),
        }
    }
}

fn too_deep(span: Range<usize>) -> ExprError {
    ExprError::new(
        Code::TooComplex,
        span,
        format!("the expression is nested deeper than {MAX_DEPTH} levels"),
    )
}
