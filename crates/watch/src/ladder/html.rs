//! A ladder as a page.

use super::Ladder;
use crate::drawing;

impl Ladder {
    /// Draws it as a page that needs nothing besides. Resting on a step tells its numbers.
    pub fn html(&self) -> String {
        let title = format!("Stream {}: {} and {}", self.id, self.client, self.server);
        drawing::page(&title, &[(&title, &self.svg())])
    }
}
