//! A socket in two halves, each in a task of its own.

use std::pin::pin;

use futures_util::future::{Either, select};
use sockeye::socket::{Receiver, Sender};
use sockeye::{CloseCode, WebSocket};
use tokio::sync::oneshot;

use crate::actor::Actor;
use crate::program::Finish;

/// Sends by one half and receives by the other, until both are done.
pub(crate) async fn run(mut actor: Actor, socket: WebSocket) -> Result<(), &'static str> {
    let (sender, mut receiver) = socket.split();
    let twin = actor.twin();
    let scheduler = actor.world.scheduler.clone();
    let mut sending = scheduler.run("a half that sends", send(twin, sender));
    let Some(mut sender) = receive_while(&mut actor, &mut receiver, &mut sending).await else {
        // The task of the other half is gone with the run.
        return Ok(());
    };
    if actor.random.one_in(2) {
        return match sender.reunite(receiver) {
            Ok(socket) => actor.finish(socket).await,
            Err(_) => {
                actor.fail("the halves of a socket are not its own");
                Ok(())
            }
        };
    }
    let finish = actor.plan.finish;
    if let Finish::Close | Finish::CloseWith(_) | Finish::Stay = finish {
        let code = if let Finish::CloseWith(code) = finish { code } else { 1000 };
        actor.allow(code);
        actor.world.records(actor.socket, |records| records[actor.side].is_discarding = true);
        let closed = sender.close(CloseCode::from(code), "enough");
        actor.check("close", Some(closed));
    }
    if let Finish::Close | Finish::CloseWith(_) | Finish::Stay | Finish::Await = finish {
        while !actor.is_over() {
            receive(&mut actor, &mut receiver).await;
        }
    }
    actor.leave(finish);
    if actor.random.one_in(2) {
        scheduler.spawn("a half that is dropped elsewhere", async move { drop(sender) });
        drop(receiver);
    } else {
        drop(receiver);
        drop(sender);
    }
    actor.depart(finish).await
}

/// Receives until the other half has no more to send, and returns that.
async fn receive_while(
    actor: &mut Actor,
    receiver: &mut Receiver,
    sending: &mut oneshot::Receiver<Sender>,
) -> Option<Sender> {
    loop {
        if actor.is_over() {
            // The other half sees the end, too, whatever it waits for.
            return sending.await.ok();
        }
        actor.pause().await;
        let received = {
            let receive = pin!(receive(actor, receiver));
            match select(receive, &mut *sending).await {
                Either::Left(((), _)) => None,
                Either::Right((sender, _)) => Some(sender),
            }
        };
        if let Some(sender) = received {
            return sender.ok();
        }
    }
}

async fn receive(actor: &mut Actor, receiver: &mut Receiver) {
    let received = if actor.random.one_in(4) {
        actor.attempt(receiver.recv_with(|_| {}), None).await
    } else {
        actor.attempt(receiver.recv(), None).await
    };
    if let Some(received) = received {
        actor.take(received, None);
    }
}

async fn send(mut actor: Actor, mut sender: Sender) -> Sender {
    for _ in 0..actor.plan.operations {
        actor.pause().await;
        let operation = actor.random.below(10);
        actor.world.note("does by a half", actor.socket, (operation * 2 + actor.side) as u64);
        match operation {
            0..=6 => {
                let (size, message) = actor.next_message();
                let sent = actor.attempt(sender.send(message), None).await;
                if sent.is_none() {
                    continue;
                }
                if actor.check("send", sent).is_none() {
                    break;
                }
                actor.world.sent(actor.socket, actor.side, size);
            }
            7 if actor.plan.awaits_pongs => {
                let pinged = actor.attempt(sender.ping(), None).await;
                actor.check("ping", pinged);
            }
            8 => {
                let flushed = actor.attempt(sender.flush(), None).await;
                if actor.check("flush", flushed).is_some() {
                    actor.world.flushed(actor.socket, actor.side);
                }
            }
            9 => {
                let sent = actor.attempt(sender.send_ping(b"well?"), None).await;
                actor.check("send_ping", sent);
            }
            _ => actor.pause().await,
        }
    }
    sender
}
