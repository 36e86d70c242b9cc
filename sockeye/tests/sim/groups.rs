//! Messages to groups: who gets them, and who misses some.

use std::future::Future;
use std::time::Duration;

use sockeye::socket::{GroupSend, Member};

use crate::content;
use crate::random::Random;
use crate::wire::SERVER;
use crate::world::World;

/// Sends a message to one of the groups, or to all its members but one. What is returned waits for them.
#[must_use]
pub(crate) fn send(world: &World, random: &mut Random, members: &[(usize, usize, Member)]) -> Option<GroupSend> {
    let number = random.below(world.groups.len());
    let group = world.groups.get(number)?;
    let size = random.weighted(&[(10, 20), (3, 2000), (1, 20_000), (1, 70_000)]);
    // Who is left out neither gets nor misses it: for the count it is sent to all that are looked at.
    let next = world.next_of_group(number);
    let message = content::group_message(number, next, size);
    world.scheduler.note("to a group", number as u64, next as u64);
    let other = members.iter().find(|(group, ..)| *group != number).filter(|_| random.one_in(4));
    // A member of another group is left out of nothing.
    Some(match other {
        Some((.., member)) => group.send_except(member, message),
        None => group.send(message),
    })
}

/// Awaits what was sent: whoever gives that up, or waits in vain, lets members that are behind miss some.
pub(crate) async fn wait(world: &World, sent: GroupSend, wait: impl AsyncFnOnce(GroupSend) -> bool) {
    let mut wait_for = Waiting { world, is_done: false };
    let start = world.scheduler.now();
    let is_done = wait(sent).await;
    let waited = Duration::from_millis(world.scheduler.now() - start);
    wait_for.is_done = is_done && waited < world.settings.patience;
}

/// Whoever waits may be dropped, as a handler that outlives its stream is.
struct Waiting<'a> {
    world: &'a World,
    is_done: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.world.hurry();
        }
    }
}

/// [`wait`], which is never given up.
pub(crate) fn wait_for_all(world: &World, sent: GroupSend) -> impl Future<Output = ()> {
    wait(world, sent, async |sent| {
        sent.await;
        true
    })
}

/// Holds an open socket to it that what was sent to its groups went out, was missed, or waits for its peer. `before` says how
/// much was sent to each some time ago, by when it has gone out where the peer reads.
pub(crate) fn check(world: &World, socket: u32, members: &[(usize, usize, Member)], before: Option<&[usize]>) {
    if world.is_closing(socket) || world.is_rough(socket) {
        return;
    }
    let seen = world.sightings.of(socket).unwrap_or_default().sides[SERVER].of_groups;
    let missed: usize = members.iter().map(|(.., member)| member.missed() as usize).sum();
    let joined: usize = members.iter().map(|(_, joined, _)| joined).sum();
    let least = before.map_or(0, |before| before.iter().sum::<usize>() - joined);
    let most = members.iter().map(|(group, ..)| world.sent_to_group(*group)).sum::<usize>() - joined;
    if !(least..=most).contains(&(seen + missed)) {
        let why = format!("{seen} messages of groups went out and {missed} were missed, of {least} to {most}");
        world.fail(socket, SERVER, &why);
    }
    if missed > 0 && !world.is_hurried() {
        world.fail(
            socket,
            SERVER,
            &format!("{missed} messages of groups were missed, and all who sent had time to wait"),
        );
    }
}
