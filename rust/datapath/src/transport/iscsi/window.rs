//! Command numbering (RFC 7143, 4.2.2.1).
//!
//! Non-immediate PDUs are taken in the order of their CmdSN. One that comes before its turn is held;
//! one outside the window, or held already, is ignored. The window is what [`COMMAND_WINDOW`] leaves
//! of the commands in progress, so MaxCmdSN never goes back: taking a command moves ExpCmdSN and
//! keeps MaxCmdSN, ending one moves MaxCmdSN.

use std::collections::HashMap;

use crate::limits::COMMAND_WINDOW;

/// When a numbered PDU may be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is the next.
    Now,
    /// Another has to come first.
    Later,
    /// It is outside the window or came before.
    Never,
}

/// Whether a CmdSN is the older one, by serial number arithmetic (RFC 1982).
pub fn is_before(cmd_sn: u32, other: u32) -> bool {
    (cmd_sn.wrapping_sub(other) as i32) < 0
}

/// The window, and what waits in it for its turn.
#[derive(Debug)]
pub struct CommandWindow<T> {
    exp_cmd_sn: u32,
    in_progress: u32,
    held: HashMap<u32, T>,
}

impl<T> CommandWindow<T> {
    /// A window that begins at `cmd_sn`.
    pub fn new(cmd_sn: u32) -> Self {
        Self { exp_cmd_sn: cmd_sn, in_progress: 0, held: HashMap::new() }
    }

    /// ExpCmdSN.
    pub fn exp_cmd_sn(&self) -> u32 {
        self.exp_cmd_sn
    }

    /// MaxCmdSN.
    pub fn max_cmd_sn(&self) -> u32 {
        self.exp_cmd_sn.wrapping_add(self.open()).wrapping_sub(1)
    }

    fn open(&self) -> u32 {
        COMMAND_WINDOW.saturating_sub(self.in_progress)
    }

    /// When the PDU numbered `cmd_sn` may be acted on. Changes nothing.
    pub fn turn(&self, cmd_sn: u32) -> Turn {
        match cmd_sn.wrapping_sub(self.exp_cmd_sn) {
            0 if self.open() > 0 => Turn::Now,
            ahead if ahead < self.open() && !self.held.contains_key(&cmd_sn) => Turn::Later,
            _ => Turn::Never,
        }
    }

    /// Whether `cmd_sn` is of a PDU that has not come, though it should have before `than`.
    pub fn is_missing_before(&self, cmd_sn: u32, than: u32) -> bool {
        let ahead = cmd_sn.wrapping_sub(self.exp_cmd_sn);
        ahead < than.wrapping_sub(self.exp_cmd_sn)
            && ahead < self.open()
            && !self.held.contains_key(&cmd_sn)
    }

    /// Takes the PDU whose turn it is.
    pub fn take_turn(&mut self) {
        self.exp_cmd_sn = self.exp_cmd_sn.wrapping_add(1);
    }

    /// Keeps a PDU until its turn.
    pub fn hold(&mut self, cmd_sn: u32, pdu: T) {
        self.held.insert(cmd_sn, pdu);
    }

    /// The held PDU whose turn has come, taken.
    pub fn next_held(&mut self) -> Option<T> {
        if self.held.is_empty() {
            return None;
        }
        let pdu = self.held.remove(&self.exp_cmd_sn)?;
        self.take_turn();
        Some(pdu)
    }

    /// A numbered command is in progress until `end`.
    pub fn begin(&mut self) {
        self.in_progress += 1;
    }

    /// A numbered command has ended.
    pub fn end(&mut self) {
        self.in_progress -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_in_order_across_the_wrap() {
        let mut window = CommandWindow::new(u32::MAX);
        assert_eq!(window.turn(1), Turn::Later);
        window.hold(1, "third");
        assert_eq!(window.turn(1), Turn::Never);
        assert_eq!(window.turn(u32::MAX), Turn::Now);
        window.take_turn();
        assert_eq!(window.next_held(), None);
        assert!(window.is_missing_before(0, 2) && !window.is_missing_before(1, 2));
        assert_eq!(window.turn(0), Turn::Now);
        window.take_turn();
        assert_eq!(window.next_held(), Some("third"));
        assert_eq!(window.exp_cmd_sn(), 2);
    }

    #[test]
    fn the_window_closes_and_never_goes_back() {
        let mut window = CommandWindow::<()>::new(10);
        let limit = window.max_cmd_sn();
        assert_eq!(limit, 10 + COMMAND_WINDOW - 1);
        assert_eq!(window.turn(9), Turn::Never);
        assert_eq!(window.turn(limit), Turn::Later);
        assert_eq!(window.turn(limit + 1), Turn::Never);
        for cmd_sn in 10..=limit {
            assert_eq!(window.turn(cmd_sn), Turn::Now);
            window.take_turn();
            window.begin();
            assert_eq!(window.max_cmd_sn(), limit);
        }
        assert_eq!(window.turn(limit + 1), Turn::Never);
        window.end();
        assert_eq!((window.max_cmd_sn(), window.turn(limit + 1)), (limit + 1, Turn::Now));
    }
}
