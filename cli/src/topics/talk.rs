//! A socket of a topic.

use std::sync::Arc;

use serde_json::json;
use sockeye::WebSocket;
use sockeye::socket::CloseCode;
use sockeye_hub::{Error, Followed, Membership, Start};

use super::presence::Room;

/// What the socket says goes to all members, also to itself.
///
/// One without the subprotocol gets messages as they are and nothing else; where it has missed some it is closed, since it could not be
/// told in another way. One that follows gets each with its number, and what it is told besides is JSON:
/// `{"joined": {"topic", "seen", "missed", "replayed"}}` after what it gets first, `{"members": N}` and `{"missed": N}`.
pub(super) async fn talk(mut socket: WebSocket, room: Arc<Room>, start: Start) -> sockeye::Result {
    let joined = match socket.protocol() {
        None => room.topic.join(&socket).await,
        Some(_) => room.topic.follow(&socket, start).await.map(|followed| greet(&room, followed)),
    };
    let member = match joined {
        Ok(member) => member,
        Err(error) => return refuse(&mut socket, error).await,
    };
    room.count();
    let ended = converse(&mut socket, &room, &member).await;
    drop(member);
    room.count();
    ended
}

/// Says what the socket got, in its place: before any that the topic gets from now on there may be few.
fn greet(room: &Room, followed: Followed) -> Membership {
    let Followed { member, missed, replayed, seen, .. } = followed;
    let told = json!({ "topic": room.topic.name(), "seen": seen.to_string(), "missed": missed, "replayed": replayed });
    drop(member.send(json!({ "joined": told }).to_string()));
    member
}

async fn converse(socket: &mut WebSocket, room: &Room, member: &Membership) -> sockeye::Result {
    let follows = socket.protocol().is_some();
    let mut members = room.members();
    members.mark_changed();
    loop {
        tokio::select! {
            message = socket.recv() => match message? {
                Some(message) => if let Err(error) = room.topic.send(message).await {
                    return refuse(socket, error).await;
                },
                None => return Ok(()),
            },
            missed = member.lagged() => {
                if !follows {
                    let reason = format!("{missed} messages of the topic were lost: connect again");
                    return socket.close_with(CloseCode::TRY_AGAIN_LATER, &reason).await;
                }
                socket.send(json!({ "missed": missed }).to_string()).await?;
            }
            Ok(()) = members.changed(), if follows => {
                let known = *members.borrow_and_update();
                if let Some(known) = known {
                    socket.send(json!({ "members": known }).to_string()).await?;
                }
            }
        }
    }
}

/// Closes a socket for what the topic cannot do.
async fn refuse(socket: &mut WebSocket, error: Error) -> sockeye::Result {
    let code = match &error {
        Error::TooLarge { .. } => CloseCode::MESSAGE_TOO_BIG,
        Error::Socket(_) => return Err(error.into()),
        _ => CloseCode::TRY_AGAIN_LATER,
    };
    tracing::debug!(%error, "a socket of a topic is closed");
    socket.close_with(code, reason(&error)).await
}

/// What fits into a Close (RFC 6455 §5.5): the whole is in the log.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::TooLarge { .. } => "the message is larger than what the hub takes",
        Error::JoinTimeout(_) => "the hub does not answer: try again later",
        _ => "the hub cannot take the message now: try again later",
    }
}
