//! The table of RAID levels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::PoolError;
use crate::limits::MEMBERS_MAX;

/// How a stripe set spreads data over its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Strips over all members, no redundancy.
    Raid0,
    /// Every member holds everything.
    Raid1,
    /// Strips over pairs of members, each pair holding the same.
    Raid10,
    /// Strips and one rotating parity strip a stripe.
    Raid5,
}

/// What a level asks for; one row each.
struct Row {
    level: Level,
    /// The number in the label.
    code: u32,
    name: &'static str,
    members_min: usize,
    /// The number of members is a multiple of this.
    members_multiple: usize,
}

/// Codes are md's numbers, so that a dump of a label says what its reader expects.
const TABLE: [Row; 4] = [
    Row { level: Level::Raid0, code: 0, name: "raid0", members_min: 1, members_multiple: 1 },
    Row { level: Level::Raid1, code: 1, name: "raid1", members_min: 2, members_multiple: 1 },
    Row { level: Level::Raid10, code: 10, name: "raid10", members_min: 4, members_multiple: 2 },
    Row { level: Level::Raid5, code: 5, name: "raid5", members_min: 3, members_multiple: 1 },
];

impl Level {
    /// Every level.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.level)
    }

    /// The number that labels hold.
    pub fn code(self) -> u32 {
        self.row().code
    }

    /// The level that a label's number stands for.
    pub fn from_code(code: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.code == code).map(|row| row.level)
    }

    /// Its name, as users type it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The fewest members it works with.
    pub fn members_min(self) -> usize {
        self.row().members_min
    }

    /// Whether it can be made of so many members; the error says what it needs.
    pub fn check_members(self, count: usize) -> Result<(), PoolError> {
        let row = self.row();
        let fits = count >= row.members_min && count.is_multiple_of(row.members_multiple);
        if fits && count <= MEMBERS_MAX {
            return Ok(());
        }
        let even = if row.members_multiple == 2 { ", an even number of them" } else { "" };
        Err(PoolError::Invalid(format!(
            "{} takes {} to {MEMBERS_MAX} members{even}; {count} were given",
            row.name, row.members_min
        )))
    }

    /// Whether `count` members can work with those of `failed` (a bit each) gone.
    pub fn tolerates(self, count: usize, failed: u32) -> bool {
        match self {
            Self::Raid0 => failed == 0,
            Self::Raid1 => (failed.count_ones() as usize) < count,
            Self::Raid10 => (0..count / 2).all(|pair| (failed >> (2 * pair)) & 0b11 != 0b11),
            Self::Raid5 => failed.count_ones() <= 1,
        }
    }

    /// Whether it holds anything more than once.
    pub fn is_redundant(self) -> bool {
        self != Self::Raid0
    }

    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.level == self).expect("each level has a row")
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = PoolError;

    fn from_str(text: &str) -> Result<Self, PoolError> {
        TABLE.iter().find(|row| row.name == text).map(|row| row.level).ok_or_else(|| {
            let names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
            PoolError::Invalid(format!("level {text} is none of {}", names.join(", ")))
        })
    }
}
