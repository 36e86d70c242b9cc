//! Requests beside the sockets, whose server says again what it is told.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use sockeye::error::{Step, Violation};
use sockeye::{Body, Client, Counter, Error, Reason, Side};
use sockeye_proto::h2;

use crate::actor::Deliberate;
use crate::content;
use crate::program::{Call, Cut};
use crate::random::Random;
use crate::scheduler::Scheduler;
use crate::transport::Link;
use crate::world::World;

/// Makes one request, and looks at what comes back.
pub(crate) async fn call(world: World, client: Client, number: u64, call: Call) {
    let _alive = world.alive();
    world.scheduler.sleep(call.start).await;
    let mut random = Random::new(call.seed);
    let pieces = pieces(&call, &mut random);
    let said: Bytes = pieces.concat().into();
    let frames = frames(world.scheduler.clone(), pieces, call.clone(), random.fork());
    let request = Request::post(format!("/call/{number}")).body(StreamBody::new(Box::pin(frames)));
    let asking = client.request(request.expect("a request like any other"));
    let answer = match call.impatience {
        Some(time) => world.scheduler.within(time, asking).await,
        None => Some(asking.await),
    };
    drop(client);
    world.scheduler.note("a request is answered", number, answer.is_some().into());
    let heard = match answer {
        None => return,
        Some(Err(error)) => Err(error),
        Some(Ok(response)) => match hear(&world, response.into_body(), &call, &mut random).await {
            Some(heard) => heard,
            None => return,
        },
    };
    let fail = |why: String| world.scheduler.fail(format!("request {number}: {why}; {call:?}"));
    match (heard, call.cut) {
        (Ok((heard, trailers)), Cut::Never) => {
            if heard != said || trailers.is_some() != call.has_trailers {
                fail(format!("it said {} octets and heard {}, {trailers:?}", said.len(), heard.len()));
            }
        }
        (Ok(_), cut) => fail(format!("its content was cut, {cut:?}, and the answer is whole")),
        // It is told at once.
        (Err(Error::Application(_) | Error::Reset { reason: Reason::CANCEL, by: Side::Client }), Cut::Error) => {}
        (Err(Error::Reset { reason: Reason::CANCEL, by: Side::Client }), Cut::Panic) => {}
        (Err(error), _) => {
            if !is_excused(&world, &error) {
                fail(format!("{error:?}"));
            }
        }
    }
}

/// Whether it had no connection, or its own ended under it by somebody's doing, or it took longer than it may on a slow network.
fn is_excused(world: &World, error: &Error) -> bool {
    let is_drained = (0..2).any(|side| world.is_drained(side));
    let is_slow = match error {
        Error::Timeout(Step::FreeStream) => true,
        // The other side has given the connection up.
        Error::Disconnected => world.has_counted(Counter::KeepAliveTimeouts),
        Error::Violation(Violation::Http2(h2::Violation::NoProgress)) => {
            world.has_counted(Counter::StreamsWithoutProgress)
        }
        _ => false,
    };
    is_drained || is_slow || world.links().iter().any(Link::is_lost)
}

fn pieces(call: &Call, random: &mut Random) -> Vec<Bytes> {
    (0..call.pieces).map(|_| vec![b'a' + random.below(26) as u8; content::size(random, call.is_large)].into()).collect()
}

/// What a request says, piece by piece.
fn frames(
    scheduler: Scheduler,
    pieces: Vec<Bytes>,
    call: Call,
    random: Random,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send {
    let state = (scheduler, pieces.into_iter(), call, random);
    stream::unfold(Some(state), |state| async move {
        let (scheduler, mut pieces, call, mut random) = state?;
        if call.laziness > 0 {
            scheduler.sleep(random.between(0, call.laziness)).await;
        }
        if let Some(piece) = pieces.next() {
            return Some((Ok(Frame::data(piece)), Some((scheduler, pieces, call, random))));
        }
        match call.cut {
            Cut::Error => Some((Err(io::Error::other("enough")), None)),
            Cut::Panic => std::panic::panic_any(Deliberate),
            Cut::Never if call.has_trailers => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-pieces", call.pieces.into());
                Some((Ok(Frame::trailers(trailers)), None))
            }
            Cut::Never => None,
        }
    })
}

type Heard = Result<(BytesMut, Option<HeaderMap>), Error>;

/// All of the answer; none where it was given up.
async fn hear(world: &World, mut body: Body, call: &Call, random: &mut Random) -> Option<Heard> {
    let (mut heard, mut trailers) = (BytesMut::new(), None);
    loop {
        if call.laziness > 0 {
            world.scheduler.sleep(random.between(0, call.laziness)).await;
        }
        if call.gives_up && random.one_in(4) {
            return None;
        }
        match body.frame().await {
            None => return Some(Ok((heard, trailers))),
            Some(Err(error)) => return Some(Err(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => heard.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
        }
    }
}
