//! The log on files: against a disk of memory, under damage, without room.

mod common;
mod damage;
mod life;
mod room;
