//! Streams that are opened and reset: by the peer (rapid reset), or by us for what the peer does (MadeYouReset).

use crate::attack::{Attack, Expected::*, HTTP2, Run};
use crate::flood::{FLOOD, Flood};
use crate::wire::fields;
use crate::wire::frames::*;

const RESETS: &str = "a burst of 200, then 100 a second";
const BURST: Option<(u64, f64)> = Some((200, 100.0));
const NO_WINDOW: &[(u16, u32)] = &[(INITIAL_WINDOW_SIZE, 0)];

/// A row whose units are refused past the limit of resets.
const fn made_you_reset(
    name: &'static str,
    run: fn(&crate::target::Target) -> anyhow::Result<crate::wire::Seen>,
) -> Attack {
    Attack {
        name,
        why: "CVE-2025-8671",
        limit: RESETS,
        expected: &[GoAway(ENHANCE_YOUR_CALM)],
        setting: HTTP2,
        run: Run::Act(run),
    }
}

/// The stream of a unit.
fn id(number: u64) -> u32 {
    1 + 2 * (number as u32 % (1 << 30))
}

fn get(number: u64, batch: &mut Vec<u8>) -> u32 {
    batch.extend(headers(id(number), END_STREAM, &fields::get()));
    id(number)
}

fn post(number: u64, batch: &mut Vec<u8>) -> u32 {
    batch.extend(headers(id(number), 0, &fields::post()));
    id(number)
}

pub const ROWS: &[Attack] = &[
    Attack {
        name: "rapid reset of requests",
        why: "CVE-2023-44487",
        limit: RESETS,
        expected: &[GoAway(ENHANCE_YOUR_CALM)],
        setting: HTTP2,
        run: Run::Act(|target| {
            Flood {
                limit: BURST,
                unit: |number, batch| {
                    let id = get(number, batch);
                    batch.extend(rst_stream(id, CANCEL));
                },
                ..FLOOD
            }
            .run(target)
        }),
    },
    Attack {
        name: "rapid reset of WebSockets",
        why: "CVE-2023-44487, RFC 8441",
        limit: RESETS,
        expected: &[GoAway(ENHANCE_YOUR_CALM)],
        setting: HTTP2,
        run: Run::Act(|target| {
            Flood {
                limit: BURST,
                unit: |number, batch| {
                    batch.extend(headers(id(number), 0, &fields::connect(&[])));
                    batch.extend(rst_stream(id(number), CANCEL));
                },
                ..FLOOD
            }
            .run(target)
        }),
    },
    made_you_reset("MadeYouReset: WINDOW_UPDATE of 0", |target| {
        Flood {
            limit: BURST,
            unit: |number, batch| {
                let id = post(number, batch);
                batch.extend(window_update(id, 0));
            },
            ..FLOOD
        }
        .run(target)
    }),
    made_you_reset("MadeYouReset: a window past 2³¹−1", |target| {
        Flood {
            limit: BURST,
            unit: |number, batch| {
                let id = post(number, batch);
                batch.extend(window_update(id, MAX_WINDOW));
            },
            ..FLOOD
        }
        .run(target)
    }),
    made_you_reset("MadeYouReset: DATA after END_STREAM", |target| {
        Flood {
            settings: NO_WINDOW,
            limit: BURST,
            unit: |number, batch| {
                let id = get(number, batch);
                batch.extend(data(id, b"x"));
            },
            ..FLOOD
        }
        .run(target)
    }),
    made_you_reset("MadeYouReset: HEADERS on a half-closed stream", |target| {
        Flood {
            settings: NO_WINDOW,
            limit: BURST,
            unit: |number, batch| {
                let id = get(number, batch);
                batch.extend(headers(id, END_STREAM, &fields::block(&[("x", "y")])));
            },
            ..FLOOD
        }
        .run(target)
    }),
    made_you_reset("MadeYouReset: HEADERS that depend on themselves", |target| {
        Flood {
            limit: BURST,
            unit: |number, batch| {
                let mut payload = id(number).to_be_bytes().to_vec();
                payload.push(15);
                payload.extend(fields::get());
                batch.extend(headers(id(number), END_STREAM | WITH_PRIORITY, &payload));
            },
            ..FLOOD
        }
        .run(target)
    }),
    made_you_reset("MadeYouReset: PRIORITY that depends on itself", |target| {
        Flood {
            limit: BURST,
            unit: |number, batch| {
                let id = post(number, batch);
                batch.extend(priority(id, id));
            },
            ..FLOOD
        }
        .run(target)
    }),
    made_you_reset("MadeYouReset: PRIORITY of another length", |target| {
        Flood {
            limit: BURST,
            unit: |number, batch| {
                let id = post(number, batch);
                batch.extend(frame(PRIORITY, 0, id, &[0; 4]));
            },
            ..FLOOD
        }
        .run(target)
    }),
    made_you_reset("MadeYouReset: a content-length that is passed", |target| {
        Flood {
            limit: BURST,
            unit: |number, batch| {
                batch.extend(headers(id(number), 0, &fields::request("POST", "/", &[("content-length", "1")])));
                batch.extend(data(id(number), b"xx"));
            },
            ..FLOOD
        }
        .run(target)
    }),
    made_you_reset("MadeYouReset: trailers that end nothing", |target| {
        Flood {
            limit: BURST,
            unit: |number, batch| {
                let id = post(number, batch);
                batch.extend(headers(id, 0, &fields::block(&[("x", "y")])));
            },
            ..FLOOD
        }
        .run(target)
    }),
    made_you_reset("malformed requests", |target| {
        Flood {
            limit: BURST,
            unit: |number, batch| {
                batch.extend(headers(id(number), END_STREAM, &fields::request("GET", "/", &[("X", "y")])))
            },
            ..FLOOD
        }
        .run(target)
    }),
    Attack {
        name: "streams past the limit",
        why: "RFC 9113 §5.1.2",
        limit: "1,024 streams, then the resets that they ask for: a burst of 200, then 100 a second",
        expected: &[GoAway(ENHANCE_YOUR_CALM)],
        setting: HTTP2,
        run: Run::Act(|target| {
            Flood {
                settings: NO_WINDOW,
                limit: Some((1224, 100.0)),
                unit: |number, batch| {
                    let block =
                        if number == 0 { fields::connect_remembered() } else { fields::connect_again().to_vec() };
                    batch.extend(headers(id(number), 0, &block));
                },
                ..FLOOD
            }
            .run(target)
        }),
    },
];
