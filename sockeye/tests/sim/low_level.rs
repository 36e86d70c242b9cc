//! The server without a `Server`: one connection, its streams one by one.

use http::{Response, StatusCode};
use sockeye::{Body, Upgrade, http2};

use crate::program::{Answer, Plan};
use crate::site;
use crate::site::Site;
use crate::transport::End;
use crate::wire::SERVER;
use crate::world::World;

/// Accepts streams until the connection has ended.
pub(crate) async fn serve(world: World, transport: End, number: u64) {
    let mut connection = http2::Connection::accept(transport, world.settings.limits_of_http2());
    loop {
        match connection.next().await {
            Ok(Some(stream)) => {
                let answering = answer(world.clone(), stream);
                world.scheduler.spawn(format!("an answer on connection {number}"), answering);
            }
            ended => {
                world.scheduler.note(&format!("a connection ended: {:?}", ended.map(drop)), number, 0);
                return;
            }
        }
    }
}

async fn answer(world: World, mut stream: http2::Stream) {
    let number = stream.uri().path().strip_prefix("/socket/").and_then(|number| number.parse().ok());
    let plan: Option<(u32, Plan)> = number.and_then(|number| Some((number, world.plan(number)?)));
    let Some((socket, plan)) = plan else {
        let mut response = Response::new(Body::from("nothing here"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return stream.respond(response).await;
    };
    if plan.answer == Answer::Taken && !world.settings.deflate {
        return match stream.into_websocket() {
            Ok(ws) => site::start(&world, socket, plan, ws, 1001),
            Err(error) => world.failed(socket, SERVER, "into_websocket", &error),
        };
    }
    let response = match Upgrade::from_request(stream.request()) {
        Ok(upgrade) => {
            let upgrade = Site { world: world.clone() }.adjust(upgrade);
            site::answer(world, socket, plan, upgrade).await
        }
        Err(refusal) => refusal.response().map(Body::from),
    };
    stream.respond(response).await;
}
