//! The engine on real books (SQLite in memory): which events open what, which jobs are asked for, and why not.

mod envelope;
mod evidence;
mod kinship;
mod lineage;
mod nearness;
mod opening;
mod signatures;
mod storm;
mod tree;
mod wishes;
