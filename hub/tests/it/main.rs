//! Hubs over a backplane that does what real ones do: it loses messages, gives them twice, and goes away.

mod broker;
mod down;
mod history;
mod holes;
mod join;
mod node;
mod order;
