//! Request boundaries: what the tracker makes of the socket calls of real and hostile servers.

mod cuts;
mod ends;
mod feed;
mod hostile;
mod long_heads;
mod losses;
mod messages;
mod privacy;
mod recorded;
mod servers;
mod speed;
