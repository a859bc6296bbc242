//! The command line.

use std::time::Duration;

pub const USAGE: &str = "\
bench-client --portal ADDRESS:PORT --target IQN [options]
    --lun N            logical unit (0)
    --sessions N       sessions, a thread each (1)
    --depth N          commands in flight in a session (1)
    --block BYTES      bytes of a command (4096)
    --op read|write    (read)
    --order random|sequential
                       order of the addresses (sequential); random visits each once a round
    --stride BYTES     distance between addresses (the block): 65536 hits each 64 KiB chunk once
    --shift BYTES      added to every address (0)
    --span BYTES       addresses lie below this (the logical unit's size)
    --seconds S        stop after so long (2)
    --commands N       or after so many
    --once             or when each address has been visited
    --seed N           of the order and of the data written (1)
    --stalls MS        list completions that took longer than this";

/// What to do and where. Sizes are bytes.
pub struct Options {
    pub portal: String,
    pub target: String,
    pub lun: u64,
    pub sessions: usize,
    pub depth: usize,
    pub block: u64,
    pub write: bool,
    pub random: bool,
    pub stride: u64,
    pub shift: u64,
    pub span: Option<u64>,
    pub time: Duration,
    pub commands: Option<u64>,
    pub once: bool,
    pub seed: u64,
    pub stalls: Option<Duration>,
}

impl Options {
    /// Parses arguments without the program's name.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            portal: String::new(),
            target: String::new(),
            lun: 0,
            sessions: 1,
            depth: 1,
            block: 4096,
            write: false,
            random: false,
            stride: 0,
            shift: 0,
            span: None,
            time: Duration::from_secs(2),
            commands: None,
            once: false,
            seed: 1,
            stalls: None,
        };
        while let Some(name) = arguments.next() {
            if name == "--once" {
                options.once = true;
                continue;
            }
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            options.set(&name, &value)?;
        }
        options.complete()
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "--portal" => self.portal = value.to_owned(),
            "--target" => self.target = value.to_owned(),
            "--lun" => self.lun = number(name, value)?,
            "--sessions" => self.sessions = number(name, value)?,
            "--depth" => self.depth = number(name, value)?,
            "--block" => self.block = number(name, value)?,
            "--op" => self.write = one_of(name, value, "read", "write")?,
            "--order" => self.random = one_of(name, value, "sequential", "random")?,
            "--stride" => self.stride = number(name, value)?,
            "--shift" => self.shift = number(name, value)?,
            "--span" => self.span = Some(number(name, value)?),
            "--seconds" => {
                self.time = Duration::try_from_secs_f64(number(name, value)?)
                    .map_err(|error| format!("{name} {value}: {error}"))?;
            }
            "--commands" => self.commands = Some(number(name, value)?),
            "--seed" => self.seed = number(name, value)?,
            "--stalls" => self.stalls = Some(Duration::from_millis(number(name, value)?)),
            _ => return Err(format!("unknown option {name}")),
        }
        Ok(())
    }

    fn complete(mut self) -> Result<Self, String> {
        if self.portal.is_empty() || self.target.is_empty() {
            return Err("--portal and --target are needed".to_owned());
        }
        if self.stride == 0 {
            self.stride = self.block;
        }
        if self.block == 0 || self.block > 16 << 20 || self.stride < self.block {
            return Err(
                "the block lies between 1 byte and 16 MiB, and within the stride".to_owned()
            );
        }
        if !(1..=64).contains(&self.sessions) || !(1..=1024).contains(&self.depth) {
            return Err("1 to 64 sessions, 1 to 1024 commands in flight".to_owned());
        }
        Ok(self)
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} {value}: not a number"))
}

fn one_of(name: &str, value: &str, no: &str, yes: &str) -> Result<bool, String> {
    match value {
        _ if value == no => Ok(false),
        _ if value == yes => Ok(true),
        _ => Err(format!("{name} is {no} or {yes}")),
    }
}
