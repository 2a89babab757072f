//! Which frames pass by on a connection that speaks HTTP/2 (RFC 9113, section 4.1).

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    kind: u8,
    flags: u8,
}

impl Frame {
    /// Whether a request's or an answer's headers are in it.
    pub(super) fn is_headers(self) -> bool {
        self.kind == 0x1
    }

    /// Whether it gives a stream up.
    pub(super) fn is_reset(self) -> bool {
        self.kind == 0x3
    }

    /// Whether it answers a ping.
    #[cfg(test)]
    pub(super) fn answers_ping(self) -> bool {
        self.kind == 0x6 && self.flags & 0x1 != 0
    }

    /// Whether it is the last one of an answer.
    pub(super) fn ends_stream(self) -> bool {
        matches!(self.kind, 0x0 | 0x1) && self.flags & 0x1 != 0
    }
}

/// What passed by of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// Its head.
    Head(Frame),
    /// All of it.
    All(Frame),
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// What has come of the next frame's head.
    head: Vec<u8>,
    current: Option<Frame>,
    /// So much passes before the next head begins.
    rest: usize,
}

/// `PRI * HTTP/2.0…`, with which a client begins.
const PREFACE: usize = 24;

const HEAD: usize = 9;

impl Frames {
    pub(super) fn of_client() -> Self {
        Self { head: Vec::new(), current: None, rest: PREFACE }
    }

    pub(super) fn of_server() -> Self {
        Self { head: Vec::new(), current: None, rest: 0 }
    }

    /// Looks at bytes that pass.
    pub(super) fn pass(&mut self, mut bytes: &[u8], mut see: impl FnMut(Passed)) {
        while !bytes.is_empty() {
            if self.rest == 0 {
                let missing = (HEAD - self.head.len()).min(bytes.len());
                self.head.extend_from_slice(&bytes[..missing]);
                bytes = &bytes[missing..];
                if self.head.len() < HEAD {
                    return;
                }
                let frame = Frame { kind: self.head[3], flags: self.head[4] };
                self.rest = usize::from(self.head[0]) << 16
                    | usize::from(self.head[1]) << 8
                    | usize::from(self.head[2]);
                self.head.clear();
                self.current = Some(frame);
                see(Passed::Head(frame));
            } else {
                let passing = self.rest.min(bytes.len());
                self.rest -= passing;
                bytes = &bytes[passing..];
            }
            if self.rest == 0
                && let Some(frame) = self.current.take()
            {
                see(Passed::All(frame));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, kind: u8, flags: u8) -> Vec<u8> {
        let mut bytes = vec![0, (length >> 8) as u8, length as u8, kind, flags, 0, 0, 0, 1];
        bytes.resize(HEAD + length, 0x55);
        bytes
    }

    #[test]
    fn frames_are_told_apart_however_they_are_cut() {
        let mut bytes = vec![b'P'; PREFACE];
        for part in [frame(0, 4, 0), frame(300, 1, 0x25), frame(4, 3, 0), frame(70, 0, 1)] {
            bytes.extend(part);
        }
        let [settings, headers, reset, data] =
            [(4, 0), (1, 0x25), (3, 0), (0, 1)].map(|(kind, flags)| Frame { kind, flags });
        let expected: Vec<_> = [settings, headers, reset, data]
            .into_iter()
            .flat_map(|frame| [Passed::Head(frame), Passed::All(frame)])
            .collect();
        for size in [1, 2, 7, 9, 10, 64, bytes.len()] {
            let (mut frames, mut seen) = (Frames::of_client(), Vec::new());
            for part in bytes.chunks(size) {
                frames.pass(part, |passed| seen.push(passed));
            }
            assert_eq!(seen, expected, "in parts of {size}");
        }
        assert!(headers.is_headers() && headers.ends_stream() && !headers.is_reset());
        assert!(reset.is_reset() && !reset.ends_stream());
        assert!(data.ends_stream() && !settings.ends_stream());
    }

    #[test]
    fn a_frame_is_all_there_only_with_its_last_byte() {
        let (mut frames, bytes) = (Frames::of_server(), frame(5, 0, 1));
        let mut seen = 0;
        frames.pass(&bytes[..bytes.len() - 1], |_| seen += 1);
        assert_eq!(seen, 1, "only its head");
        frames.pass(&bytes[bytes.len() - 1..], |_| seen += 1);
        assert_eq!(seen, 2);
    }
}
