//! Names of users and groups, asked for once each.

use std::collections::HashMap;

use nix::unistd::{Gid, Group, Uid, User};

/// Looks owners' names up and remembers them.
#[derive(Debug, Default)]
pub(in crate::ops) struct Owners {
    users: HashMap<u32, Box<[u8]>>,
    groups: HashMap<u32, Box<[u8]>>,
}

fn short(name: String) -> Box<[u8]> {
    if name.len() > 255 { Box::default() } else { name.into_bytes().into() }
}

impl Owners {
    /// The user's name, empty if unknown.
    pub(in crate::ops) fn user(&mut self, uid: u32) -> Box<[u8]> {
        let look = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(Box::default, |u| short(u.name));
        self.users.entry(uid).or_insert_with(look).clone()
    }

    /// The group's name, empty if unknown.
    pub(in crate::ops) fn group(&mut self, gid: u32) -> Box<[u8]> {
        let look = || Group::from_gid(Gid::from_raw(gid)).ok().flatten().map_or_else(Box::default, |g| short(g.name));
        self.groups.entry(gid).or_insert_with(look).clone()
    }
}
