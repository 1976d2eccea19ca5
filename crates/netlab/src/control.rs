//! How a pump learns that its conditions have changed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::conditions::Conditions;

/// What has changed since a pump looked last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Changes {
    /// Those that hold from now on, where they were set.
    pub(crate) conditions: Option<Conditions>,
    /// Whether the link is cut.
    pub(crate) cut: bool,
}

/// Changes on their way to the one pump that looks for them. A look where nothing has changed reads one number.
#[derive(Debug, Default)]
pub(crate) struct Control {
    generation: AtomicU64,
    changes: Mutex<Changes>,
}

impl Control {
    /// Changes something: it holds for every packet that is sent after this.
    pub(crate) fn change(&self, what: impl FnOnce(&mut Changes)) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        what(&mut changes);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// What has changed since the generation `seen`, which becomes that of now.
    pub(crate) fn changed_since(&self, seen: &mut u64) -> Option<Changes> {
        if self.generation.load(Ordering::Acquire) == *seen {
            return None;
        }
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = self.generation.load(Ordering::Acquire);
        let conditions = changes.conditions.take();
        Some(Changes {
            conditions,
            ..*changes
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once_and_a_cut_stays() {
        let control = Control::default();
        let mut seen = 0;
        assert!(control.changed_since(&mut seen).is_none());
        control.change(|changes| changes.cut = true);
        control.change(|changes| changes.conditions = Some(Conditions::default()));
        let changes = control.changed_since(&mut seen).expect("a change");
        assert!(changes.cut && changes.conditions.is_some());
        assert!(control.changed_since(&mut seen).is_none());
        control.change(|changes| changes.conditions = Some(Conditions::default()));
        assert!(control.changed_since(&mut seen).expect("a change").cut);
        control.change(|changes| changes.cut = false);
        let changes = control.changed_since(&mut seen).expect("a change");
        assert!(!changes.cut && changes.conditions.is_none());
    }
}
