//! Faults that happen once, and the decision when.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::frames::{Frame, FrameKind};
use crate::servers::{Result, ServerError};

/// Nothing that is armed takes longer to come, unless it never comes.
const HAPPENING_DEADLINE: Duration = Duration::from_secs(90);

/// Which connections are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// All.
    All,
    /// Those of PostgreSQL whose application name ends like this: `log`, `snapshot`, `catalog`; those of MySQL that read the log or
    /// a snapshot.
    Purpose(&'static str),
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the daemon to the server.
    ToServer,
    /// From the server to the daemon.
    ToClient,
}

/// How a connection ends, for both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// FIN: as if the other side had closed it.
    Close,
    /// RST: as if the other side had never known of it.
    Reset,
}

/// What happens once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends right after so many bytes, counted from now on over all connections meant.
    CutAfter {
        /// Which bytes are counted.
        direction: Direction,
        /// How many of them still pass.
        bytes: u64,
        /// How the connection ends.
        ending: Ending,
    },
    /// The connection ends when half of the next frame of this kind has passed.
    CutInside(FrameKind, Ending),
    /// So many frames of this kind are read and thrown away, those between them pass.
    Lose {
        /// Which frames.
        kind: FrameKind,
        /// How many.
        count: u32,
        /// What becomes of the connection after the last of them.
        then: Then,
    },
    /// One bit turns over in so many events with rows of MySQL's log.
    Flip {
        /// How many.
        count: u32,
    },
    /// So many produce responses say this instead (an error code of Kafka's protocol).
    Answer {
        /// How many.
        count: u32,
        /// The code, for every partition of the request.
        error_code: i16,
    },
}

/// What becomes of a connection after its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing: what follows passes.
    GoOn,
    /// It ends.
    Cut(Ending),
    /// It stays, and nothing passes any more.
    Hold,
}

/// A fault that will happen.
#[derive(Debug)]
pub struct Armed {
    fault: Fault,
    happened: watch::Receiver<bool>,
}

/// An armed fault, as the pumps see it.
pub(super) struct Rule {
    who: Who,
    fault: Fault,
    left: u64,
    happened: Arc<watch::Sender<bool>>,
}

/// What is done with bytes that are about to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They pass.
    Pass,
    /// They are thrown away.
    Lose,
    /// They are thrown away, and nothing follows them.
    Hold,
    /// The first so many pass, then the connection ends.
    Cut(usize, Ending),
    /// One bit in their middle turns over.
    Flip,
    /// They say this error.
    Answer(i16),
}

// === impl Who ===

impl Who {
    pub(super) fn means(self, application_name: &str) -> bool {
        match self {
            Who::All => true,
            Who::Purpose(purpose) => application_name.split(' ').next_back() == Some(purpose),
        }
    }
}

// === impl Armed ===

impl Armed {
    /// Waits until it has happened.
    ///
    /// # Errors
    /// When it does not within a minute and a half, or was disarmed.
    pub async fn happened(mut self) -> Result<()> {
        let fault = self.fault;
        match tokio::time::timeout(HAPPENING_DEADLINE, self.happened.wait_for(|happened| *happened)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ServerError::new(format!("{fault:?} was disarmed before it happened"))),
            Err(_) => Err(ServerError::new(format!(
                "{fault:?} did not happen within {HAPPENING_DEADLINE:?}"
            ))),
        }
    }

    /// Whether it has happened.
    #[must_use]
    pub fn has_happened(&self) -> bool {
        *self.happened.borrow()
    }
}

// === impl Rule ===

impl Rule {
    pub(super) fn new(who: Who, fault: Fault) -> (Rule, Armed) {
        let (sender, happened) = watch::channel(false);
        let left = match fault {
            Fault::CutAfter { bytes, .. } => bytes,
            Fault::CutInside(..) => 1,
            Fault::Lose { count, .. } | Fault::Flip { count } | Fault::Answer { count, .. } => u64::from(count),
        };
        let happened_sender = Arc::new(sender);
        let rule = Rule {
            who,
            fault,
            left,
            happened: happened_sender,
        };
        (rule, Armed { fault, happened })
    }

    /// What becomes of a frame; counts it.
    fn judge(&mut self, direction: Direction, frame: &Frame) -> Verdict {
        let length = u64::try_from(frame.bytes.len()).unwrap_or(u64::MAX);
        match self.fault {
            Fault::CutAfter {
                direction: counted,
                ending,
                ..
            } if counted == direction => {
                if length < self.left {
                    self.left -= length;
                    return Verdict::Pass;
                }
                let passing = usize::try_from(self.left).unwrap_or(usize::MAX);
                self.left = 0;
                Verdict::Cut(passing, ending)
            }
            Fault::CutInside(kind, ending) if kind == frame.kind => {
                self.left = 0;
                Verdict::Cut(frame.bytes.len() / 2, ending)
            }
            Fault::Lose { kind, then, .. } if kind == frame.kind => {
                self.left = self.left.saturating_sub(1);
                match then {
                    Then::Cut(ending) if self.left == 0 => Verdict::Cut(0, ending),
                    Then::Hold if self.left == 0 => Verdict::Hold,
                    Then::GoOn | Then::Cut(_) | Then::Hold => Verdict::Lose,
                }
            }
            Fault::Flip { .. } if has_rows(frame) => {
                self.left = self.left.saturating_sub(1);
                Verdict::Flip
            }
            Fault::Answer { error_code, .. } if frame.kind == FrameKind::ProduceResponse => {
                self.left = self.left.saturating_sub(1);
                Verdict::Answer(error_code)
            }
            Fault::CutAfter { .. }
            | Fault::CutInside(..)
            | Fault::Lose { .. }
            | Fault::Flip { .. }
            | Fault::Answer { .. } => Verdict::Pass,
        }
    }
}

/// An event of MySQL's log that writes, updates or deletes rows: behind the frame's head, a zero and the time stands its type.
fn has_rows(frame: &Frame) -> bool {
    frame.kind == FrameKind::BinlogEvent && matches!(frame.bytes.get(9), Some(23..=25 | 30..=32))
}

/// What the first rule that has something to say makes of a frame, and the signal to give when that is done. Rules that
/// are used up are taken away.
pub(super) fn judge(
    rules: &mut Vec<Rule>,
    application_name: &str,
    direction: Direction,
    frame: &Frame,
) -> (Verdict, Option<Arc<watch::Sender<bool>>>) {
    for index in 0..rules.len() {
        let Some(rule) = rules.get_mut(index).filter(|rule| rule.who.means(application_name)) else {
            continue;
        };
        let verdict = rule.judge(direction, frame);
        if verdict == Verdict::Pass {
            continue;
        }
        if rule.left > 0 {
            return (verdict, None);
        }
        return (verdict, Some(rules.remove(index).happened));
    }
    (Verdict::Pass, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: FrameKind, length: usize) -> Frame {
        Frame {
            kind,
            bytes: vec![0; length].into(),
        }
    }

    #[test]
    fn bytes_are_counted_in_one_direction_over_connections() {
        let (rule, armed) = Rule::new(
            Who::Purpose("log"),
            Fault::CutAfter {
                direction: Direction::ToClient,
                bytes: 10,
                ending: Ending::Reset,
            },
        );
        let mut rules = vec![rule];
        let frame = frame(FrameKind::Other, 6);
        let mut ask = |name: &str, direction| judge(&mut rules, name, direction, &frame).0;
        assert_eq!(ask("tailrace shop log", Direction::ToClient), Verdict::Pass);
        assert_eq!(ask("tailrace shop log", Direction::ToServer), Verdict::Pass);
        assert_eq!(ask("tailrace shop catalog", Direction::ToClient), Verdict::Pass);
        assert_eq!(
            ask("tailrace other log", Direction::ToClient),
            Verdict::Cut(4, Ending::Reset)
        );
        assert_eq!(ask("tailrace shop log", Direction::ToClient), Verdict::Pass, "once");
        assert!(!armed.has_happened(), "the pump tells when it is done");
    }

    #[test]
    fn the_last_of_several_lost_frames_takes_the_connection_along() {
        let fault = Fault::Lose {
            kind: FrameKind::ProduceResponse,
            count: 2,
            then: Then::Cut(Ending::Close),
        };
        let mut rules = vec![Rule::new(Who::All, fault).0];
        let mut ask = |kind| judge(&mut rules, "", Direction::ToClient, &frame(kind, 8)).0;
        assert_eq!(ask(FrameKind::ProduceResponse), Verdict::Lose);
        assert_eq!(ask(FrameKind::Other), Verdict::Pass);
        assert_eq!(ask(FrameKind::ProduceResponse), Verdict::Cut(0, Ending::Close));
        assert_eq!(ask(FrameKind::ProduceResponse), Verdict::Pass);
    }

    #[test]
    fn a_bit_turns_over_in_rows_and_nowhere_else() {
        let event = |event_type: u8| Frame {
            kind: FrameKind::BinlogEvent,
            bytes: [&[0; 9][..], &[event_type], &[0; 20]].concat().into(),
        };
        let mut rules = vec![Rule::new(Who::All, Fault::Flip { count: 1 }).0];
        let mut ask = |frame: &Frame| judge(&mut rules, "", Direction::ToClient, frame).0;
        assert_eq!(ask(&event(15)), Verdict::Pass);
        assert_eq!(ask(&frame(FrameKind::Other, 30)), Verdict::Pass);
        assert_eq!(ask(&event(30)), Verdict::Flip);
        assert_eq!(ask(&event(30)), Verdict::Pass);
    }

    #[test]
    fn a_cut_inside_a_frame_leaves_half_of_it() {
        let mut rules = vec![Rule::new(Who::All, Fault::CutInside(FrameKind::ProduceRequest, Ending::Reset)).0];
        let verdict = judge(
            &mut rules,
            "",
            Direction::ToServer,
            &frame(FrameKind::ProduceRequest, 101),
        )
        .0;
        assert_eq!(verdict, Verdict::Cut(50, Ending::Reset));
    }
}
