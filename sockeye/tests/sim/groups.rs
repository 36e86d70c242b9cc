//! Messages to groups: who gets them, and who misses some.

use sockeye::Member;

use crate::content;
use crate::random::Random;
use crate::wire::SERVER;
use crate::world::World;

/// Sends a message to one of the groups.
pub(crate) fn send(world: &World, random: &mut Random) {
    let group = random.below(world.groups.len());
    let Some(members) = world.groups.get(group) else { return };
    let size = random.weighted(&[(10, 20), (3, 2000), (1, 20_000), (1, 70_000)]);
    let number = world.next_of_group(group);
    world.scheduler.note("to a group", group as u64, number as u64);
    members.send(content::group_message(group, number, size));
}

/// Holds an open socket to it that what was sent to its groups went out or was missed. `before` says how much was sent to each
/// when the socket began to be flushed.
pub(crate) fn check(world: &World, socket: u32, members: &[(usize, usize, Member)], before: &[usize]) {
    if world.is_closing(socket) || world.is_rough(socket) {
        return;
    }
    let seen = world.sightings.of(socket).unwrap_or_default().sides[SERVER].of_groups;
    let missed: usize = members.iter().map(|(.., member)| member.missed() as usize).sum();
    let joined: usize = members.iter().map(|(_, joined, _)| joined).sum();
    let least = before.iter().sum::<usize>() - joined;
    let most = members.iter().map(|(group, ..)| world.sent_to_group(*group)).sum::<usize>() - joined;
    if !(least..=most).contains(&(seen + missed)) {
        let why = format!("{seen} messages of groups went out and {missed} were missed, of {least} to {most}");
        world.fail(socket, SERVER, &why);
    }
}
