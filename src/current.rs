//! A part that can be replaced while others use it: brakes, credentials, sources of facts.

use std::sync::{Arc, PoisonError, RwLock};

/// What is in force. Whoever took it before a change goes on with the old one to the end of what it does.
#[derive(Debug)]
pub struct Current<T: ?Sized>(RwLock<Arc<T>>);

impl<T: ?Sized> Current<T> {
    /// With what is in force first.
    pub fn new(first: Arc<T>) -> Current<T> {
        Current(RwLock::new(first))
    }

    /// What is in force now.
    pub fn get(&self) -> Arc<T> {
        // Nothing can panic while the lock is held: the pointer in it is always sound.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another one in force.
    pub fn put(&self, other: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_took_the_old_one_goes_on_with_it() {
        let current: Current<str> = Current::new("old".into());
        let taken = current.get();
        current.put("new".into());
        assert_eq!((&*taken, &*current.get()), ("old", "new"));
    }
}
