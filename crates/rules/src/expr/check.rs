//! A syntax tree to a typed expression.
//!
//! In: the text, and what is in scope: the kinds of events, shared lists. Out: an [`Expr`] whose names are accessors,
//! or every error that it has. Never: guessing a type.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::ExprError;
use super::functions::HISTORY_FUNCTIONS;
use super::parse::{Ast, Binary, Node, parse};
use super::program::{Arith, Compare, Expr, Op};
use crate::code::Code;
use crate::diagnostic::{closest, one_of};
use crate::fields::{EventKind, Field, field, fields_of, object_field};
use crate::value::{List, ObjectType, Type, Value};

/// A shared list of a rule file.
#[derive(Debug, Clone)]
pub(crate) struct NamedList {
    /// The type of its elements.
    pub element: Type,
    /// Its elements.
    pub values: Arc<[Value<'static>]>,
}

/// What an expression can name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'s> {
    /// The kinds of events it is evaluated for: a field must exist in all of them.
    pub kinds: &'s [EventKind],
    /// Shared lists, as `lists.name`.
    pub lists: &'s BTreeMap<String, NamedList>,
    /// Whether `estimate` is there.
    pub estimate: bool,
    /// The type of `each`, the element of the rule's `for_each`; `None` where there is none.
    pub each: Option<&'s Type>,
}

/// Reads, types and compiles a condition. The second part has every error and warning.
pub(crate) fn compile(text: &str, scope: Scope<'_>) -> (Option<Expr>, Vec<ExprError>) {
    let (compiled, mut errors) = compile_value(text, scope);
    let Some((expr, ty)) = compiled else {
        return (None, errors);
    };
    if !Type::Bool.accepts(&ty) {
        let error = ExprError::new(
            Code::TypeMismatch,
            expr.span(),
            format!("a condition is true or false, this is {}", an(&ty)),
        );
        let error = error.expected("a comparison, or another expression of type bool");
        errors.push(error);
        return (None, errors);
    }
    (Some(expr), errors)
}

/// The same for an expression of any type.
pub(crate) fn compile_value(text: &str, scope: Scope<'_>) -> (Option<(Expr, Type)>, Vec<ExprError>) {
    let ast = match parse(text) {
        Ok(ast) => ast,
        Err(error) => return (None, vec![error]),
    };
    if scope.kinds.is_empty() {
        // What the event is could not be read: that is said already, and types cannot be checked.
        return (None, Vec::new());
    }
    let mut checker = Checker {
        scope,
        errors: Vec::new(),
        locals: scope
            .each
            .map(|ty| ("each".to_owned(), ty.clone()))
            .into_iter()
            .collect(),
    };
    let compiled = checker.check(&ast);
    let failed = checker.errors.iter().any(|error| !error.is_warning);
    (compiled.filter(|_| !failed), checker.errors)
}

/// A type with its article.
pub(crate) fn an(ty: &Type) -> String {
    let word = ty.to_string();
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {word}")
}

/// A check under way.
pub(super) struct Checker<'s> {
    pub(super) scope: Scope<'s>,
    pub(super) errors: Vec<ExprError>,
    /// Variables of the macros around the node, outermost first.
    pub(super) locals: Vec<(String, Type)>,
}

/// An expression with its type; `None` when it has errors, which are noted.
pub(super) type Typed = Option<(Expr, Type)>;

impl Checker<'_> {
    /// Notes an error; for use as the result of a check that failed.
    pub(super) fn fail<T>(&mut self, error: ExprError) -> Option<T> {
        self.errors.push(error);
        None
    }

    pub(super) fn check(&mut self, ast: &Ast) -> Typed {
        let made = |op, ty| Some((Expr::new(op, &ast.span), ty));
        match &ast.node {
            Node::Bool(value) => made(Op::Const(Value::Bool(*value)), Type::Bool),
            Node::Int(value) => made(Op::Const(Value::Int(*value)), Type::Int),
            Node::Double(value) => made(Op::Const(Value::Double(*value)), Type::Double),
            Node::Text(text) => made(Op::Const(Value::Text(text.clone().into())), Type::Text),
            Node::Name(name) => self.name(ast, name),
            Node::Member { of, name, name_span } => self.member(ast, of, name, name_span),
            Node::Call {
                of: None,
                name,
                name_span,
                args,
            } => self.call(ast, name, name_span, args),
            Node::Call {
                of: Some(of),
                name,
                name_span,
                args,
            } => self.method(ast, of, name, name_span, args),
            Node::Index(list, index) => self.index(ast, list, index),
            Node::Not(of) => {
                let of = self.bool(of, "`!`")?;
                made(Op::Not(Box::new(of)), Type::Bool)
            }
            Node::Minus(of) => {
                let (of, ty) = self.check(of)?;
                match ty {
                    Type::Int | Type::Double | Type::Duration => made(Op::Minus(Box::new(of)), ty),
                    _ => {
                        let message = format!("`-` needs a number or a duration, this is {}", an(&ty));
                        self.fail(ExprError::new(Code::TypeMismatch, of.span(), message))
                    }
                }
            }
            Node::Binary {
                op,
                op_span,
                left,
                right,
            } => self.binary(ast, *op, op_span, left, right),
            Node::And(parts) => {
                let parts = self.bools(parts, "`&&`")?;
                made(Op::And(parts), Type::Bool)
            }
            Node::Or(parts) => {
                let parts = self.bools(parts, "`||`")?;
                made(Op::Or(parts), Type::Bool)
            }
            Node::Ternary(parts) => {
                let [condition, yes, no] = &**parts;
                let condition = self.bool(condition, "the condition before `?`");
                let (yes, no) = (self.check(yes), self.check(no));
                let (condition, (yes, ty), (no, other)) = (condition?, yes?, no?);
                if !ty.accepts(&other) {
                    let message = format!(
                        "the two values of `? :` must have one type, these are {} and {}",
                        an(&ty),
                        an(&other)
                    );
                    return self.fail(ExprError::new(Code::TypeMismatch, no.span(), message));
                }
                made(Op::Ternary(Box::new([condition, yes, no])), ty)
            }
            Node::List(items) => self.list(ast, items),
        }
    }

    /// A part that must be true or false.
    pub(super) fn bool(&mut self, ast: &Ast, who: &str) -> Option<Expr> {
        let (expr, ty) = self.check(ast)?;
        if Type::Bool.accepts(&ty) {
            return Some(expr);
        }
        let error = ExprError::new(
            Code::TypeMismatch,
            ast.span.clone(),
            format!("{who} needs true or false, this is {}", an(&ty)),
        );
        let error = match ty {
            Type::List(_) => error.suggest("whether a list has elements is asked with `size(list) > 0`"),
            Type::Text => error.suggest("compare it, as in `… != \"\"`"),
            _ => error.expected("a comparison, or another expression of type bool"),
        };
        self.fail(error)
    }

    /// All parts, so that each one's errors are found.
    fn bools(&mut self, parts: &[Ast], who: &str) -> Option<Vec<Expr>> {
        let checked: Vec<Option<Expr>> = parts.iter().map(|part| self.bool(part, who)).collect();
        for (part, expr) in parts.iter().zip(&checked) {
            if let Some(Op::Const(Value::Bool(value))) = expr.as_ref().map(Expr::op) {
                let message = format!("this part is always {value}");
                self.errors
                    .push(ExprError::new(Code::ConstantCondition, part.span.clone(), message).warning());
            }
        }
        checked.into_iter().collect()
    }

    fn name(&mut self, ast: &Ast, name: &str) -> Typed {
        if let Some(slot) = self.locals.iter().rposition(|(local, _)| local == name) {
            let ty = self.locals[slot].1.clone();
            return Some((Expr::new(Op::Local(slot), &ast.span), ty));
        }
        if name == "event" {
            return Some((Expr::new(Op::Event, &ast.span), Type::Event));
        }
        let error = |text: String| ExprError::new(Code::UnknownField, ast.span.clone(), text);
        let error = match name {
            "history" => error("`history` is no value by itself".to_owned()).expected(format!(
                "one of its functions: {}",
                one_of(HISTORY_FUNCTIONS.iter().map(|function| function.name))
            )),
            "lists" => {
                error("`lists` is no value by itself".to_owned()).expected("a list of the file, as in `lists.name`")
            }
            "estimate" => {
                error("`estimate` is no value by itself".to_owned()).expected("`estimate.hours` or `estimate.jobs`")
            }
            "each" => error("there is no `each` here".to_owned()).suggest(
                "it is the element of the rule's `for_each`, in texts of `open` and in `approve: { when: … }`",
            ),
            _ => {
                let error = error(format!("there is no `{name}`"));
                let field = self.scope.kinds.iter().any(|kind| field(*kind, name).is_some());
                let roots = ["event", "history", "lists", "true", "false"];
                let locals = self.locals.iter().map(|(local, _)| local.as_str());
                if field {
                    error.suggest(format!("did you mean `event.{name}`?"))
                } else if let Some(best) = closest(name, roots.into_iter().chain(locals)) {
                    error.suggest(format!("did you mean `{best}`?"))
                } else {
                    error.expected("`event.…`, `history.…`, `lists.…`, or a text in quotes")
                }
            }
        };
        self.fail(error)
    }

    fn member(&mut self, ast: &Ast, of: &Ast, name: &str, name_span: &Range<usize>) -> Typed {
        if let Node::Name(root) = &of.node
            && self.locals.iter().all(|(local, _)| local != root)
        {
            match root.as_str() {
                "event" => return self.event_field(ast, name, name_span),
                "lists" => return self.named_list(ast, name, name_span),
                "estimate" => return self.estimate_field(ast, name, name_span),
                "history" => {
                    let error = ExprError::new(
                        Code::UnknownFunction,
                        ast.span.clone(),
                        format!("`history.{name}` must be called"),
                    );
                    let known = HISTORY_FUNCTIONS.iter().find(|function| function.name == name);
                    return self.fail(match known {
                        Some(function) => error.expected(function.signature),
                        None => error.expected(one_of(HISTORY_FUNCTIONS.iter().map(|function| function.name))),
                    });
                }
                _ => {}
            }
        }
        let (of, ty) = self.check(of)?;
        match ty {
            Type::Object(object) => self.part(ast, of, object, name, name_span),
            Type::List(_) => {
                let message = format!("a list has no field `{name}`");
                self.fail(
                    ExprError::new(Code::UnknownField, name_span.clone(), message)
                        .suggest(format!("ask its elements: `….exists(x, x.{name} …)`")),
                )
            }
            _ => {
                let message = format!("{} has no fields, so no `{name}`", an(&ty));
                self.fail(ExprError::new(Code::UnknownField, name_span.clone(), message))
            }
        }
    }

    fn part(&mut self, ast: &Ast, of: Expr, object: ObjectType, name: &str, name_span: &Range<usize>) -> Typed {
        if let Some(field) = object_field(object, name) {
            return Some((Expr::new(Op::Part(Box::new(of), field), &ast.span), (field.ty)()));
        }
        let names = crate::field_table::OBJECT_FIELDS
            .iter()
            .filter(|field| field.of == object)
            .map(|field| field.name);
        let error = ExprError::new(
            Code::UnknownField,
            name_span.clone(),
            format!("a {} has no field `{name}`", object.as_str()),
        );
        let error = match closest(name, names.clone()) {
            Some(best) => error.suggest(format!("did you mean `{best}`?")),
            None => error,
        };
        self.fail(error.expected(one_of(names)))
    }

    fn event_field(&mut self, ast: &Ast, name: &str, name_span: &Range<usize>) -> Typed {
        let mut found: Vec<&'static Field> = Vec::new();
        for kind in self.scope.kinds {
            match field(*kind, name) {
                Some(field) if found.iter().any(|known| std::ptr::eq(*known, field)) => {}
                Some(field) => found.push(field),
                None => return self.unknown_field(*kind, name, name_span),
            }
        }
        let ty = (found.first()?.ty)();
        if found.iter().any(|field| (field.ty)() != ty) {
            let kinds = one_of(self.scope.kinds.iter().map(|kind| kind.as_str()));
            let message = format!("`event.{name}` has different types in {kinds}");
            return self.fail(
                ExprError::new(Code::TypeMismatch, name_span.clone(), message)
                    .suggest("write one rule for each kind of event"),
            );
        }
        Some((Expr::new(Op::Field(found), &ast.span), ty))
    }

    fn unknown_field(&mut self, kind: EventKind, name: &str, name_span: &Range<usize>) -> Typed {
        let message = format!("a {} event has no field `{name}`", kind.as_str());
        let error = ExprError::new(Code::UnknownField, name_span.clone(), message);
        let names = fields_of(kind).map(|field| field.name);
        let elsewhere: Vec<&str> = EventKind::ALL
            .into_iter()
            .filter(|other| field(*other, name).is_some())
            .map(EventKind::as_str)
            .collect();
        let error = if let Some(best) = closest(name, names) {
            error.suggest(format!("did you mean `event.{best}`?"))
        } else if !elsewhere.is_empty() {
            error.suggest(format!("it is a field of {} events", one_of(elsewhere)))
        } else {
            error.expected(format!(
                "one of: {}",
                fields_of(kind).map(|field| field.name).collect::<Vec<_>>().join(", ")
            ))
        };
        self.fail(error)
    }

    fn named_list(&mut self, ast: &Ast, name: &str, name_span: &Range<usize>) -> Typed {
        match self.scope.lists.get(name) {
            Some(list) => {
                let value = Value::List(List::Values(Arc::clone(&list.values)));
                Some((Expr::new(Op::Const(value), &ast.span), list.element.clone().list()))
            }
            None => {
                let error = ExprError::new(
                    Code::UnknownName,
                    name_span.clone(),
                    format!("there is no list `{name}`"),
                );
                let error = match closest(name, self.scope.lists.keys().map(String::as_str)) {
                    Some(best) => error.suggest(format!("did you mean `lists.{best}`?")),
                    None => error.suggest("write it under `lists:` at the top of the file"),
                };
                self.fail(error)
            }
        }
    }

    fn estimate_field(&mut self, ast: &Ast, name: &str, name_span: &Range<usize>) -> Typed {
        if !self.scope.estimate {
            let message = "`estimate` is known only in `approve: { when: … }`";
            return self.fail(ExprError::new(Code::UnknownField, ast.span.clone(), message));
        }
        let estimate = Expr::new(Op::Estimate, &ast.span);
        self.part(ast, estimate, ObjectType::Estimate, name, name_span)
    }

    fn index(&mut self, ast: &Ast, list: &Ast, index: &Ast) -> Typed {
        let (list, index) = (self.check(list), self.check(index));
        let ((list, ty), (index, index_type)) = (list?, index?);
        let Type::List(element) = ty else {
            let message = format!("only a list has numbered elements, this is {}", an(&ty));
            return self.fail(ExprError::new(Code::TypeMismatch, list.span(), message));
        };
        if !Type::Int.accepts(&index_type) {
            let message = format!("an element is chosen by an int, this is {}", an(&index_type));
            return self.fail(ExprError::new(Code::TypeMismatch, index.span(), message));
        }
        Some((
            Expr::new(Op::Index(Box::new(list), Box::new(index)), &ast.span),
            *element,
        ))
    }

    fn list(&mut self, ast: &Ast, items: &[Ast]) -> Typed {
        let checked: Vec<Typed> = items.iter().map(|item| self.check(item)).collect();
        let checked: Vec<(Expr, Type)> = checked.into_iter().collect::<Option<_>>()?;
        let element = checked.first().map_or(Type::Any, |(_, ty)| ty.clone());
        if let Some((odd, ty)) = checked.iter().find(|(_, ty)| !element.accepts(ty)) {
            let message = format!(
                "a list has elements of one type; its first is {}, this is {}",
                an(&element),
                an(ty)
            );
            return self.fail(ExprError::new(Code::TypeMismatch, odd.span(), message));
        }
        let exprs: Vec<Expr> = checked.into_iter().map(|(expr, _)| expr).collect();
        let values: Option<Vec<Value<'static>>> = exprs.iter().map(|expr| expr.constant().cloned()).collect();
        let op = match values {
            Some(values) => Op::Const(Value::List(List::Values(values.into()))),
            None => Op::List(exprs),
        };
        Some((Expr::new(op, &ast.span), element.list()))
    }

    fn binary(&mut self, ast: &Ast, op: Binary, op_span: &Range<usize>, left: &Ast, right: &Ast) -> Typed {
        let checked = (self.check(left), self.check(right));
        let ((a, a_type), (b, b_type)) = (checked.0?, checked.1?);
        let made = |op, ty| Some((Expr::new(op, &ast.span), ty));
        let pair = |a, b| Box::new((a, b));
        if let Some(compare) = Compare::of(op) {
            if let Err(error) = comparable(op, op_span, &a_type, &b_type) {
                return self.fail(error);
            }
            self.closed_words(&a, right);
            self.closed_words(&b, left);
            return made(Op::Compare(compare, pair(a, b)), Type::Bool);
        }
        if op == Binary::In {
            let Type::List(element) = &b_type else {
                let error = ExprError::new(
                    Code::TypeMismatch,
                    right.span.clone(),
                    format!("`in` needs a list on its right, this is {}", an(&b_type)),
                );
                return self.fail(match b_type {
                    Type::Text => error.suggest("a part of a text is looked for with `text.contains(part)`"),
                    _ => error.expected("a list such as `[\"a\", \"b\"]` or `lists.name`"),
                });
            };
            if !goes_with(element, &a_type) {
                let message = format!("{} is never in a list of {element}", an(&a_type));
                return self.fail(ExprError::new(Code::TypeMismatch, op_span.clone(), message));
            }
            if let Node::List(items) = &right.node {
                items.iter().for_each(|item| self.closed_words(&a, item));
            }
            return made(Op::In(pair(a, b)), Type::Bool);
        }
        match arithmetic(op, op_span, &a_type, &b_type, left, right) {
            Ok((arith, ty)) => made(Op::Arith(arith, pair(a, b)), ty),
            Err(error) => self.fail(error),
        }
    }

    /// Refuses a word that a field of a closed set can never be.
    fn closed_words(&mut self, expr: &Expr, other: &Ast) {
        let (Op::Field(fields), Node::Text(word)) = (expr.op(), &other.node) else {
            return;
        };
        let words: Vec<&str> = fields.iter().flat_map(|field| field.words.iter().copied()).collect();
        let closed = fields.iter().all(|field| !field.words.is_empty());
        if !closed || words.contains(&word.as_str()) {
            return;
        }
        let message = format!("`event.{}` is never {word:?}", fields[0].name);
        let error =
            ExprError::new(Code::InvalidValue, other.span.clone(), message).expected(one_of(words.iter().copied()));
        let error = match closest(word, words.iter().copied()) {
            Some(best) => error.suggest(format!("did you mean {best:?}?")),
            None => error,
        };
        self.errors.push(error);
    }
}

/// Whether values of two types can be the same: numbers of both types, also inside of lists.
fn goes_with(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::List(a), Type::List(b)) => goes_with(a, b),
        _ => a.accepts(b) || (a.is_number() && b.is_number()),
    }
}

/// Whether two types can be compared so.
fn comparable(op: Binary, op_span: &Range<usize>, a: &Type, b: &Type) -> Result<(), ExprError> {
    let error = |text: String| ExprError::new(Code::TypeMismatch, op_span.clone(), text);
    if !goes_with(a, b) {
        let error = error(format!("`{}` cannot compare {} with {}", op.as_str(), an(a), an(b)));
        return Err(match (a, b) {
            (Type::List(element), other) | (other, Type::List(element)) if element.accepts(other) => {
                error.suggest("whether a list has an element is asked with `element in list`")
            }
            (Type::Text, Type::Int | Type::Double) | (Type::Int | Type::Double, Type::Text) => {
                error.suggest("write the number without quotes, or the text with them")
            }
            (Type::Duration, Type::Int | Type::Double) | (Type::Int | Type::Double, Type::Duration) => {
                error.suggest("a span of time is written `duration(\"90m\")`")
            }
            (Type::Time, Type::Text) | (Type::Text, Type::Time) => {
                error.suggest("a moment is written `timestamp(\"2026-06-01T10:00:00Z\")`")
            }
            _ => error,
        });
    }
    if matches!(a, Type::Event | Type::Object(_)) {
        return Err(error(format!("{} cannot be compared as a whole", an(a))).suggest("compare one of its fields"));
    }
    let ordered = matches!(
        op,
        Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual
    );
    if ordered && matches!(a, Type::List(_)) {
        return Err(error(format!("`{}` cannot order lists", op.as_str())).suggest("compare their `size`"));
    }
    Ok(())
}

/// What an arithmetic operator does with two types, and the type of the result.
fn arithmetic(
    op: Binary,
    op_span: &Range<usize>,
    a: &Type,
    b: &Type,
    left: &Ast,
    right: &Ast,
) -> Result<(Arith, Type), ExprError> {
    let result = match (op, a, b) {
        (Binary::Plus, Type::List(x), Type::List(y)) if x.accepts(y) => Some((Arith::Plus, a.clone())),
        (Binary::Plus, Type::Text, Type::Text) => Some((Arith::Plus, Type::Text)),
        (Binary::Plus, Type::Time, Type::Duration) | (Binary::Plus, Type::Duration, Type::Time) => {
            Some((Arith::Plus, Type::Time))
        }
        (Binary::Minus, Type::Time, Type::Time) => Some((Arith::Minus, Type::Duration)),
        (Binary::Minus, Type::Time, Type::Duration) => Some((Arith::Minus, Type::Time)),
        (Binary::Plus, Type::Duration, Type::Duration) => Some((Arith::Plus, Type::Duration)),
        (Binary::Minus, Type::Duration, Type::Duration) => Some((Arith::Minus, Type::Duration)),
        // An element of `[]`: there is none, so it goes with every number.
        (_, Type::Any, number @ (Type::Int | Type::Double)) | (_, number @ (Type::Int | Type::Double), Type::Any) => {
            Arith::of(op).map(|arith| (arith, number.clone()))
        }
        (_, Type::Int, Type::Int) => Arith::of(op).map(|arith| (arith, Type::Int)),
        (Binary::Remainder, Type::Double, Type::Double) => None,
        (_, Type::Double, Type::Double) => Arith::of(op).map(|arith| (arith, Type::Double)),
        _ => None,
    };
    result.ok_or_else(|| {
        let message = format!("`{}` cannot be applied to {} and {}", op.as_str(), an(a), an(b));
        let error = ExprError::new(Code::TypeMismatch, op_span.clone(), message);
        match (a, b) {
            (Type::Int, Type::Double) => double_instead(error, left),
            (Type::Double, Type::Int) => double_instead(error, right),
            (Type::Text, Type::Int | Type::Double) | (Type::Int | Type::Double, Type::Text) => {
                error.suggest("make a text of the number with `string(…)`")
            }
            _ => error,
        }
    })
}

/// CEL does not mix whole and floating-point numbers in arithmetic: how to write it instead.
fn double_instead(error: ExprError, whole: &Ast) -> ExprError {
    match &whole.node {
        Node::Int(number) => error.suggest(format!("write `{number}.0`")),
        _ => error.suggest("make the whole number a double with `double(…)`"),
    }
}
