//! Runs the sessions side by side and adds up what they saw.

use crate::connection::{Command, Connection, failure};
use crate::options::Options;
use crate::plan::Plan;
use serde::Serialize;
use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Stalls listed at most: a minute's at a few thousand a second, and bounded.
const STALLS_MAX: usize = 200_000;

#[derive(Serialize)]
struct Report {
    started_unix_ms: f64,
    commands: u64,
    bytes: u64,
    seconds: f64,
    commands_per_second: f64,
    latency_us: Latency,
    stalls: Vec<Stall>,
}

#[derive(Serialize)]
struct Latency {
    p50: u32,
    p99: u32,
    max: u32,
}

/// A completion that took long: when it came, since the start, and how long it took.
#[derive(Clone, Copy, Serialize)]
struct Stall {
    at_ms: f64,
    took_ms: f64,
}

/// What one session saw.
struct Tally {
    latencies_us: Vec<u32>,
    stalls: Vec<Stall>,
    ended: Instant,
}

/// Carries the options out and returns the report as JSON.
///
/// # Errors
/// What went wrong with a connection, or a command that did not end with GOOD.
pub fn run(options: &Options) -> io::Result<String> {
    let mut connections = (0..options.sessions)
        .map(|number| {
            Connection::login(&options.portal, &options.target, options.lun, number as u16)
        })
        .collect::<io::Result<Vec<_>>>()?;
    let mut unit = None;
    for connection in &mut connections {
        unit = Some(ready(connection)?);
    }
    let unit = unit.ok_or_else(|| failure("no session"))?;
    let plan = plan(options, &unit)?;
    let barrier = Barrier::new(options.sessions + 1);
    let (started, tallies) = thread::scope(|scope| {
        let sessions: Vec<_> = connections
            .into_iter()
            .map(|connection| scope.spawn(|| drive(connection, options, &unit, &plan, &barrier)))
            .collect();
        barrier.wait();
        let started = Instant::now();
        let tallies: io::Result<Vec<_>> = sessions
            .into_iter()
            .map(|session| session.join().unwrap_or_else(|_| Err(failure("a session panicked"))))
            .collect();
        (started, tallies)
    });
    report(options, started, &tallies?)
}

/// The logical unit as READ CAPACITY(16) tells it.
struct Unit {
    bytes: u64,
    block_bytes: u64,
}

/// Takes the unit attentions of a new session away and asks for the capacity.
fn ready(connection: &mut Connection) -> io::Result<Unit> {
    let mut test_unit_ready = Command { tag: 0, cdb: [0; 16], data_out: &[], data_in_bytes: 0 };
    for tag in 0..16 {
        test_unit_ready.tag = tag;
        connection.issue(&test_unit_ready);
        if connection.complete(|_| &[])?.status == 0 {
            let mut cdb = [0; 16];
            (cdb[0], cdb[1], cdb[13]) = (0x9E, 0x10, 32);
            connection.issue(&Command { tag: 99, cdb, data_out: &[], data_in_bytes: 32 });
            if connection.complete(|_| &[])?.status != 0 {
                return Err(failure("READ CAPACITY(16) failed"));
            }
            let data = connection.data_in();
            let last = u64::from_be_bytes(data[..8].try_into().map_err(io::Error::other)?);
            let block = u32::from_be_bytes(data[8..12].try_into().map_err(io::Error::other)?);
            let block_bytes = u64::from(block.max(1));
            return Ok(Unit { bytes: (last + 1) * block_bytes, block_bytes });
        }
    }
    Err(failure("the logical unit does not become ready"))
}

fn plan(options: &Options, unit: &Unit) -> io::Result<Plan> {
    let span = options.span.unwrap_or(unit.bytes).min(unit.bytes);
    let positions = span.saturating_sub(options.shift) / options.stride;
    let positions = u32::try_from(positions).ok().filter(|count| (1..1 << 26).contains(count));
    let positions = positions.ok_or_else(|| failure("no address, or too many, in the span"))?;
    if !options.block.is_multiple_of(unit.block_bytes) {
        return Err(failure("the block is no multiple of the logical block"));
    }
    let end = match (options.commands, options.once) {
        (Some(commands), _) => commands,
        (None, true) => u64::from(positions),
        (None, false) => u64::MAX,
    };
    let seed = options.random.then_some(options.seed);
    Ok(Plan::new(positions, seed, end, options.stride, options.shift))
}

fn drive(
    mut connection: Connection,
    options: &Options,
    unit: &Unit,
    plan: &Plan,
    barrier: &Barrier,
) -> io::Result<Tally> {
    let data = filling(options);
    let mut issued_at = vec![Instant::now(); options.depth];
    let mut idle: Vec<u32> = (0..options.depth as u32).collect();
    let mut tally = Tally { latencies_us: Vec::new(), stalls: Vec::new(), ended: Instant::now() };
    barrier.wait();
    let started = Instant::now();
    let mut stopping = false;
    loop {
        while !stopping && connection.window_is_open() {
            let Some(tag) = idle.pop() else { break };
            let now = Instant::now();
            let address = if now - started < options.time { plan.next() } else { None };
            let Some(address) = address else {
                idle.push(tag);
                stopping = true;
                break;
            };
            issued_at[tag as usize] = now;
            connection.issue(&command(options, unit, tag, address, &data));
        }
        if idle.len() == options.depth {
            break;
        }
        let completion = connection.complete(|_| &data)?;
        let now = Instant::now();
        if completion.status != 0 {
            let status = completion.status;
            return Err(failure(&format!("a command ended with status {status:02x}h")));
        }
        idle.push(completion.tag);
        let took = now - issued_at[completion.tag as usize];
        tally.note(options, now - started, took);
    }
    tally.ended = Instant::now();
    connection.logout()?;
    Ok(tally)
}

fn command<'a>(
    options: &Options,
    unit: &Unit,
    tag: u32,
    address: u64,
    data: &'a [u8],
) -> Command<'a> {
    let mut cdb = [0; 16];
    let lba = address / unit.block_bytes;
    let blocks = (options.block / unit.block_bytes) as u32;
    // READ(16) and WRITE(16) reach all addresses; READ(10) and WRITE(10) are what initiators use.
    if let Ok(lba) = u32::try_from(lba) {
        cdb[0] = if options.write { 0x2A } else { 0x28 };
        cdb[2..6].copy_from_slice(&lba.to_be_bytes());
        cdb[7..9].copy_from_slice(&(blocks as u16).to_be_bytes());
    } else {
        cdb[0] = if options.write { 0x8A } else { 0x88 };
        cdb[2..10].copy_from_slice(&lba.to_be_bytes());
        cdb[10..14].copy_from_slice(&blocks.to_be_bytes());
    }
    let data_in_bytes = if options.write { 0 } else { options.block as usize };
    Command { tag, cdb, data_out: if options.write { data } else { &[] }, data_in_bytes }
}

/// Bytes that no target can take for zeros, other ones for another seed.
fn filling(options: &Options) -> Vec<u8> {
    let mut state = options.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..options.block).map(next).collect()
}

impl Tally {
    fn note(&mut self, options: &Options, at: Duration, took: Duration) {
        self.latencies_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        if options.stalls.is_some_and(|limit| took > limit) && self.stalls.len() < STALLS_MAX {
            let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
            self.stalls.push(Stall { at_ms: milliseconds(at), took_ms: milliseconds(took) });
        }
    }
}

fn report(options: &Options, started: Instant, tallies: &[Tally]) -> io::Result<String> {
    let mut latencies: Vec<u32> =
        tallies.iter().flat_map(|tally| &tally.latencies_us).copied().collect();
    latencies.sort_unstable();
    let ended = tallies.iter().map(|tally| tally.ended).max().unwrap_or(started);
    let seconds = ended.saturating_duration_since(started).as_secs_f64().max(1e-9);
    let commands = latencies.len() as u64;
    let quantile = |part: usize| {
        latencies.get((latencies.len() * part / 100).min(latencies.len().max(1) - 1)).copied()
    };
    let since_start = started.elapsed();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    let report = Report {
        started_unix_ms: now.saturating_sub(since_start).as_secs_f64() * 1e3,
        commands,
        bytes: commands * options.block,
        seconds,
        commands_per_second: commands as f64 / seconds,
        latency_us: Latency {
            p50: quantile(50).unwrap_or(0),
            p99: quantile(99).unwrap_or(0),
            max: latencies.last().copied().unwrap_or(0),
        },
        stalls: tallies.iter().flat_map(|tally| &tally.stalls).copied().collect(),
    };
    serde_json::to_string(&report).map_err(io::Error::other)
}
