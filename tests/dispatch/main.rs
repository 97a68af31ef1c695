//! The dispatcher on real books.

mod appear;
mod breakers;
mod desk;
mod limits;
mod sending;
mod together;
