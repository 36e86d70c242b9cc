//! One run: a seed, a world, and what came of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sockeye::{Client, Deflate, Error, Server};

use crate::actor::Actor;
use crate::caller;
use crate::executor::Executor;
use crate::low_level;
use crate::program::{self, Call, Chaos, Plan, Settings, Version};
use crate::random::Random;
use crate::scheduler::Scheduler;
use crate::site::Site;
use crate::stranger;
use crate::trace::{Telling, Told, Trace};
use crate::transport::{End, Link, Loss};
use crate::wire::{CLIENT, SERVER, Watch};
use crate::world::World;

/// Milliseconds after the last of the programs within which nothing may be left: every timeout of the library there is.
const MAX_AFTERLIFE: u64 = 200 * 1000;

/// Milliseconds until a connection that was lost in silence is known to be, if not before: more than any timeout that there is.
const PATIENCE: u64 = 150 * 1000;

/// The number of a stranger's connection.
const STRANGER: u64 = 1000;

/// Runs a seed.
pub(crate) fn run(seed: u64, telling: Telling) -> Told {
    let trace = Trace::new(telling);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime with nothing but a clock");
    runtime.block_on(async {
        let mut random = Random::new(seed);
        let scheduler = Scheduler::new(trace.clone());
        let settings = Settings::draw(&mut random);
        let plans = program::plans(&mut random, &settings);
        let calls = program::calls(&mut random, &settings);
        if telling == Telling::Printed {
            println!("{settings:#?}\n{plans:#?}\n{calls:#?}");
        }
        let server = server(&settings);
        let world = World::new(scheduler.clone(), settings, server.handle(), plans);
        let main = main(world, server, calls, random.fork());
        Executor::new(scheduler, random, main).await;
    });
    drop(runtime);
    trace.told()
}

fn server(settings: &Settings) -> Server {
    let mut server = Server::new().limits(settings.limits());
    if let Some((interval, timeout)) = settings.pings {
        server = server.ping(interval, timeout);
    }
    if let Some((interval, timeout)) = settings.keep_alive {
        server = server.keep_alive(interval, timeout);
    }
    server
}

async fn main(world: World, server: Server, calls: Vec<Call>, mut random: Random) {
    let plans: Vec<_> = world.sockets().into_iter().filter_map(|socket| Some((socket, world.plan(socket)?))).collect();
    let mut running = Vec::new();
    if world.settings.has_stranger {
        let transport = dial(&world, server.clone(), STRANGER, random.next());
        let visit = stranger::visit(world.clone(), transport, random.fork());
        running.push(world.scheduler.run("a stranger", visit));
    }
    if let Some(client) = connect(&world, server, &mut random).await {
        world.client.get_or_init(|| client.handle());
        for (socket, plan) in plans {
            let open = open(world.clone(), client.clone(), socket, plan);
            running.push(world.scheduler.run(format!("the client's socket {socket}"), open));
        }
        for (number, call) in (1..).zip(calls) {
            let calling = caller::call(world.clone(), client.clone(), number, call);
            running.push(world.scheduler.run(format!("request {number}"), calling));
        }
        running.push(world.scheduler.run("chaos", befall(world.clone(), client, random)));
    }
    for done in running {
        done.await.ok();
    }
    world.scheduler.note("all programs are done", 0, 0);
    die_away(&world).await;
    world.check_end();
}

/// Connects a client whose connections are made here, each with a server at its other end.
async fn connect(world: &World, server: Server, random: &mut Random) -> Option<Client> {
    let settings = &world.settings;
    let numbers = Arc::new(AtomicU64::new(0));
    let (seed, here) = (random.next(), world.clone());
    let mut builder = Client::builder()
        .limits(settings.limits_of_client())
        .max_connections(settings.max_connections)
        // Which is random, and no seed knows.
        .back_off(Duration::ZERO, Duration::ZERO)
        .connector(move |_| {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let (world, server) = (here.clone(), server.clone());
            async move { Ok::<End, io::Error>(dial(&world, server, number, seed)) }
        });
    builder = match settings.version {
        Version::Http1 => builder.http1_only(),
        Version::Http2 => builder.http2_only(),
    };
    if let Some((interval, timeout)) = settings.pings {
        builder = builder.ping(interval, timeout);
    }
    if let Some((interval, timeout)) = settings.keep_alive {
        builder = builder.keep_alive(interval, timeout);
    }
    match builder.connect("http://example.com").await {
        Ok(client) => Some(client),
        Err(error) => {
            world.scheduler.note(&format!("no client: {error:?}"), 0, 0);
            if !matches!(error, Error::Timeout(_)) {
                world.scheduler.fail(format!("no client: {error:?}"));
            }
            None
        }
    }
}

fn dial(world: &World, server: Server, number: u64, seed: u64) -> End {
    let mut random = Random::new(seed.wrapping_add(number));
    let watch = match world.settings.version {
        Version::Http1 => Watch::http1(number, &world.sightings),
        Version::Http2 => Watch::http2(number, &world.sightings),
    };
    let (link, client, end) = Link::new(number, &world.scheduler, &mut random, &world.settings.manners, watch);
    world.links().push(link);
    if world.settings.is_low_level {
        world
            .scheduler
            .spawn(format!("the server's connection {number}"), low_level::serve(world.clone(), end, number));
        return client;
    }
    let site = Site { world: world.clone() };
    let (scheduler, serving) = (world.scheduler.clone(), server.serve_connection(end, site));
    world.scheduler.spawn(format!("the server's connection {number}"), async move {
        let result = serving.await;
        scheduler.note(&format!("a connection ended: {result:?}"), number, 0);
    });
    client
}

/// Opens a socket and does with it what its plan says.
async fn open(world: World, client: Client, socket: u32, plan: Plan) {
    world.scheduler.sleep(plan.start).await;
    let mut open = client.open(&format!("/socket/{socket}"));
    if world.settings.deflate {
        open = open.deflate(Deflate::default());
    }
    drop(client);
    let opening = open.into_future();
    let opened = match plan.impatience {
        Some(time) => world.scheduler.within(time, opening).await,
        None => Some(opening.await),
    };
    match opened {
        None => {
            world.records(socket, |records| records[CLIENT].gave_up = true);
            world.note("given up", socket, 0);
        }
        Some(Err(error)) => {
            world.records(socket, |records| records[CLIENT].gave_up = true);
            // The rest of a response says what time it is.
            let why = if let Error::Refused(response) = &error {
                response.status().to_string()
            } else {
                format!("{error:?}")
            };
            world.note(&format!("not opened: {why}"), socket, 0);
            check_refusal(&world, socket, &plan, &error);
        }
        Some(Ok(ws)) => {
            if matches!(plan.answer, program::Answer::Refused | program::Answer::Panic) {
                world.fail(socket, CLIENT, "it was opened, though the server did not accept it");
            }
            Actor::new(&world, socket, CLIENT, &plan.sides[CLIENT], 1001).run(ws).await.ok();
        }
    }
}

/// A socket is not opened for a reason.
fn check_refusal(world: &World, socket: u32, plan: &Plan, error: &Error) {
    let is_meant = match plan.answer {
        program::Answer::Refused => matches!(error, Error::Refused(_)),
        program::Answer::Panic => true,
        _ => false,
    };
    // What the server has accepted is opened, though it drains (RFC 9113 §6.8).
    let was_accepted = world.records(socket, |records| records[SERVER].is_open);
    let is_drained = world.is_drained(CLIENT) || world.is_drained(SERVER) && !was_accepted;
    if !is_meant && !is_drained && !world.is_any_rough() && !matches!(error, Error::Timeout(_)) {
        world.fail(socket, CLIENT, &format!("it was not opened: {error:?}"));
    }
}

/// What comes from outside.
async fn befall(world: World, client: Client, mut random: Random) {
    for (time, what) in world.settings.chaos.clone() {
        let now = world.scheduler.now();
        world.scheduler.sleep(time.saturating_sub(now)).await;
        world.scheduler.note(&format!("{what:?}"), 0, 0);
        match what {
            Chaos::Lose(loss) => {
                let links = world.links().clone();
                if !links.is_empty() {
                    let link = links[random.below(links.len())].clone();
                    link.lose(loss, &world.scheduler);
                    notice(&world, link);
                }
            }
            Chaos::DrainServer => {
                world.drain(SERVER);
                world.cut_off_after(0);
                world.server.shutdown();
            }
            Chaos::SpreadServer(time) => {
                world.drain(SERVER);
                world.cut_off_after(time);
                world.server.drain(Duration::from_millis(time));
            }
            Chaos::CloseClient => {
                world.drain(CLIENT);
                world.cut_off_after(0);
                client.close().await;
            }
            Chaos::SendToGroup if !world.groups.is_empty() => match crate::groups::send(&world, &mut random, &[]) {
                Some(sent) if !random.one_in(4) => crate::groups::wait_for_all(&world, sent).await,
                // Nobody waits.
                Some(_) => world.hurry(),
                None => {}
            },
            Chaos::SendToGroup => {}
        }
    }
}

/// In the end the system notices what nobody else did.
fn notice(world: &World, link: Link) {
    let scheduler = world.scheduler.clone();
    world.scheduler.spawn("the end of a silent connection", async move {
        scheduler.sleep(PATIENCE).await;
        link.lose(Loss::Abrupt, &scheduler);
    });
}

/// Nothing is left when everybody is done: neither a connection nor a task, neither a handler nor a socket.
async fn die_away(world: &World) {
    for link in world.links().iter() {
        if link.is_lost() {
            // Now they notice.
            link.lose(Loss::Abrupt, &world.scheduler);
        }
    }
    let end = world.scheduler.now() + MAX_AFTERLIFE;
    while let Err(left) = is_quiet(world) {
        if world.scheduler.now() >= end {
            return world.scheduler.fail(format!("in the end there is something left: {left}"));
        }
        world.scheduler.sleep(100).await;
    }
    world.scheduler.note("all is over", 0, 0);
}

fn is_quiet(world: &World) -> Result<(), String> {
    let (server, alive) = (world.server.connections(), world.count_alive());
    let client = world.client.get().map(|client| client.connections()).unwrap_or_default();
    let links = world.links().iter().filter(|link| !link.is_over()).count();
    if server.is_empty() && client.is_empty() && alive + links == 0 {
        return Ok(());
    }
    Err(format!("{links} transports, {alive} handlers and halves; the server lists {server:?}, the client {client:?}"))
}
