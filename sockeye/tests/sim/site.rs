//! The server's application.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use sockeye::socket::Handler;
use sockeye::{Body, Upgrade, WebSocket};
use tower::Service;

use crate::actor::{Actor, Deliberate};
use crate::program::{Answer, Finish, Plan};
use crate::wire::SERVER;
use crate::world::{Alive, World};

/// Answers each handshake as the plan of its socket says, and every other request with its own content.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) world: World,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Service<Request<Body>> for Site {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Answering {
        let number = request.uri().path().strip_prefix("/socket/").and_then(|number| number.parse().ok());
        let plan = number.and_then(|number| Some((number, self.world.plan(number)?)));
        let Some((socket, plan)) = plan else {
            let echo = Upgrade::from_request(&mut request).map(|upgrade| upgrade.accept(Echo(self.world.alive())));
            return Box::pin(ready(Ok(echo.unwrap_or_else(|_| Response::new(request.into_body())))));
        };
        let upgrade = match Upgrade::from_request(&mut request) {
            Ok(upgrade) => self.adjust(upgrade),
            Err(refusal) => {
                self.world.fail(socket, SERVER, &format!("a handshake is none: {refusal}"));
                return Box::pin(ready(Ok(refusal.response().map(Body::from))));
            }
        };
        let world = self.world.clone();
        Box::pin(async move { Ok(answer(world, socket, plan, upgrade).await) })
    }
}

/// Says again what a stranger says.
struct Echo(Alive);

impl Handler for Echo {
    type Future = Pin<Box<dyn Future<Output = sockeye::Result> + Send>>;

    fn handle(self, mut socket: WebSocket) -> Self::Future {
        Box::pin(async move {
            let _alive = self.0;
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
            }
            Ok(())
        })
    }
}

impl Site {
    pub(crate) fn adjust(&self, upgrade: Upgrade) -> Upgrade {
        if self.world.settings.deflate { upgrade.deflate(sockeye::Deflate::default()) } else { upgrade }
    }
}

pub(crate) async fn answer(world: World, socket: u32, plan: Plan, upgrade: Upgrade) -> Response<Body> {
    let alive = world.alive();
    let pause = plan.sides[SERVER].laziness / 4;
    if pause > 0 {
        world.scheduler.sleep(pause).await;
    }
    drop(alive);
    match plan.answer {
        Answer::Refused => {
            let mut response = Response::new(Body::from("not this one"));
            *response.status_mut() = StatusCode::FORBIDDEN;
            response
        }
        Answer::Panic => std::panic::panic_any(Deliberate),
        Answer::InPlace => upgrade.accept(move |ws: WebSocket| in_place(world, socket, plan, ws)),
        Answer::HandedOver => upgrade.accept(move |ws: WebSocket| hand_over(world, socket, plan, ws)),
        Answer::Spawned => upgrade.accept(move |ws: WebSocket| spawn(world, socket, plan, ws)),
        Answer::Taken => {
            match upgrade.take().await {
                Ok(ws) => start(&world, socket, plan, ws, 1001),
                Err(error) => world.failed(socket, SERVER, "take", &error),
            }
            Response::new(Body::empty())
        }
    }
}

async fn in_place(world: World, socket: u32, plan: Plan, ws: WebSocket) -> Result<(), &'static str> {
    Actor::new(&world, socket, SERVER, &plan.sides[SERVER], 1000).run(ws).await
}

async fn hand_over(world: World, socket: u32, plan: Plan, ws: WebSocket) {
    start(&world, socket, plan, ws, 1000);
}

/// What runs in another task has no handler's result.
pub(crate) fn start(world: &World, socket: u32, mut plan: Plan, ws: WebSocket, code_of_drop: u16) {
    let side = &mut plan.sides[SERVER];
    if let Finish::Err | Finish::Panic = side.finish {
        side.finish = Finish::Ok;
    }
    let actor = Actor::new(world, socket, SERVER, side, code_of_drop);
    world.scheduler.spawn(format!("the server's socket {socket}"), async move {
        actor.run(ws).await.ok();
    });
}

async fn spawn(world: World, socket: u32, mut plan: Plan, ws: WebSocket) -> Result<(), &'static str> {
    let side = &mut plan.sides[SERVER];
    if side.finish == Finish::Panic {
        side.finish = Finish::Err;
    }
    let actor = Actor::new(&world, socket, SERVER, side, 1000);
    let done = world.scheduler.run(format!("the server's socket {socket}"), actor.run(ws));
    done.await.unwrap_or(Ok(()))
}
