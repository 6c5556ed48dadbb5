//! Request boundaries: what the tracker makes of the socket calls of real and hostile servers.

mod arrivals;
mod census;
mod cuts;
mod ends;
mod feed;
mod fuzzed;
mod hostile;
mod long_heads;
mod losses;
mod messages;
mod privacy;
mod recorded;
mod routes;
mod servers;
mod several;
mod speed;
mod tls;
mod trace;
mod unparsed;
