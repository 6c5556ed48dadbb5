//! Every map, with its key, its writer, its reader and why it is of this type. Sizes marked "at load"
//! are set by user space.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, PerfEventArray, RingBuf},
    macros::btf_map,
    Global,
};
use probe_common::{
    Arrivals, BesideState, Conn, ConnKey, Control, CoreState, CoreWeights, CountState, CpuClocks,
    CpuCore, CpuSlot, IoRecord, Process, Session, SessionCallKey, SessionKey, TickState,
    WideTickRecord, CONSUMERS, HEAD_BYTES, LOSSES, MAX_COUNTERS, MAX_CPUS, MAX_PACKAGES,
};

/// Key: CPU. Written by `sched_switch` and the resync on that CPU alone, read by ticks and boundaries on
/// every CPU: a plain array, because a per-CPU array cannot be read from another CPU.
#[btf_map]
pub static SLOTS: Array<CpuSlot, MAX_CPUS> = Array::new();

/// Key: tgid. Who it is and its on-CPU time (host books). Inserted at first sight, at a target's fork and,
/// to adopt a process, by user space, which may also mark it dead; removed when the kernel frees the
/// task, or at the fork that gives its number to another. Hash: bounded, and a full table is counted,
/// never evicts.
#[btf_map]
pub static PROCESSES: HashMap<u32, Process, 16384> = HashMap::new();

/// Key: consumer. On-CPU time of processes that are gone. Added to atomically by whoever removes an entry
/// of `PROCESSES`, the programs on fork and free; read by user space.
#[btf_map]
pub static EXITED: Array<u64, CONSUMERS> = Array::new();

/// Key: consumer. On-CPU time that found no room in `PROCESSES`. Written by `sched_switch` and the resync.
#[btf_map]
pub static UNBOOKED: PerCpuArray<[u64; CONSUMERS], 1> = PerCpuArray::new();

/// Key: `Loss`. Written by whoever loses, per CPU so that nothing races; summed by user space.
#[btf_map]
pub static LOST: PerCpuArray<[u64; LOSSES], 1> = PerCpuArray::new();

/// Key: 0. What user space tells the programs; written by user space only.
#[btf_map]
pub static CONTROL: Array<Control, 1> = Array::new();

/// Key: 0. Instant of the last boundary with captured bytes, so that ticks speed up before user space
/// knows of the request. Written by boundaries; a lost race costs nothing.
#[btf_map]
pub static LAST_IO: Array<u64, 1> = Array::new();

/// Key: CPU. Its package index. Written by user space before anything is attached.
#[btf_map]
pub static PACKAGE_OF: Array<u32, MAX_CPUS> = Array::new();

/// Key: package. Bit `i`: counter `i` is in `ENERGY_i`. Written by user space before the tick is attached.
#[btf_map]
pub static COUNTERS: Array<u32, MAX_PACKAGES> = Array::new();

/// Key: package. The perf event of the package's first energy counter, put there by user space; the maps
/// below hold its others. One map a counter, because aya cuts a perf event array down to the number of
/// CPUs: a machine has no more packages than CPUs, but may well have more counters.
#[btf_map]
pub static ENERGY_0: PerfEventArray = PerfEventArray::new();
/// Second counter.
#[btf_map]
pub static ENERGY_1: PerfEventArray = PerfEventArray::new();
/// Third counter.
#[btf_map]
pub static ENERGY_2: PerfEventArray = PerfEventArray::new();
/// Fourth counter.
#[btf_map]
pub static ENERGY_3: PerfEventArray = PerfEventArray::new();
/// Fifth counter.
#[btf_map]
pub static ENERGY_4: PerfEventArray = PerfEventArray::new();
/// Sixth counter.
#[btf_map]
pub static ENERGY_5: PerfEventArray = PerfEventArray::new();
/// Seventh counter.
#[btf_map]
pub static ENERGY_6: PerfEventArray = PerfEventArray::new();
/// Eighth counter, the last of [`MAX_COUNTERS`].
#[btf_map]
pub static ENERGY_7: PerfEventArray = PerfEventArray::new();

/// Key: package. State between two ticks. Written by the tick, of which each package has one.
#[btf_map]
pub static TICKS: Array<TickState, MAX_PACKAGES> = Array::new();

/// Key: package × MAX_COUNTERS + counter. Kernel books: what the tick charged each consumer, in counter
/// units. Written by the tick of that package, read by user space.
#[btf_map]
pub static BOOKS: Array<[u64; CONSUMERS], { MAX_PACKAGES * MAX_COUNTERS }> = Array::new();

/// Key: what the hooks know a connection by. Watched connections. Inserted on accept (or by user space for those already
/// open), removed on close. Hash: bounded, a full table is counted.
#[btf_map]
pub static CONNS: HashMap<ConnKey, Conn, 65536> = HashMap::new();

/// Key: inode number of a listening socket. Its target. Written by user space.
#[btf_map]
pub static LISTENERS: HashMap<u64, u32, 256> = HashMap::new();

/// Key: a kernel's `sock`. When what lies in it unread came. Inserted when a watched connection is accepted, or else first
/// received from, and when data comes for one that is not accepted yet, whoever listens; written when data comes and when it is
/// received, removed on close. LRU hash: what nobody removed makes room for others, and so may one that is needed, whose next arrival is
/// then not known. A program that has looked an entry up may find it given to another socket: the place of that one's reader
/// does not fit, and a unix socket's next arrival may be wrong by what lies between the two.
#[btf_map]
pub static ARRIVALS: LruHashMap<u64, Arrivals, 16384> = LruHashMap::new();

/// Key: below [`IO_SLOTS`]. Where a boundary is put together before it is copied to the ring buffer: too large for the
/// stack, of variable length. Written by whoever holds it; several, because a program may lose the CPU in the midst to
/// another.
#[btf_map]
pub static IO_SCRATCH: PerCpuArray<IoScratch, { IO_SLOTS as usize }> = PerCpuArray::new();

/// Programs that may put a boundary together on one CPU at a time.
pub const IO_SLOTS: u32 = 4;

/// Key: TLS session. Its connection. Inserted when the session is first seen on a connection, or found to be a client's;
/// removed when the library frees it, on close, and by user space when its process ends. Hash: bounded, a full table is
/// counted.
#[btf_map]
pub static SESSIONS: HashMap<SessionKey, Session, 65536> = HashMap::new();

/// Key: connection id. The TLS session of a connection that speaks TLS; `ssl` 0: not known yet. Inserted at its first
/// bytes, removed on close, and by user space when its process ends. Hash: as above.
#[btf_map]
pub static SESSION_OF: HashMap<u64, SessionKey, 65536> = HashMap::new();

/// Key: thread. The connection without a known session that it received on last, outside of any call for one. Inserted by receives, removed once the
/// session is known, and by user space when the process ends. Hash: as above.
#[btf_map]
pub static RECEIVED: HashMap<u64, u64, 16384> = HashMap::new();

/// Key: thread and kind of call. Arguments of TLS functions that have not returned. Inserted on entry, removed on return,
/// and by user space when the process ends. Hash: as above.
#[btf_map]
pub static SESSION_CALLS: HashMap<SessionCallKey, SessionCall, 16384> = HashMap::new();

/// Key: 0. Where a tick is put together, of whatever kind; this is the largest.
#[btf_map]
pub static TICK_SCRATCH: PerCpuArray<WideTickRecord, 1> = PerCpuArray::new();

/// Key: CPU. Its core. Written by user space before anything is attached. This map and those below are as
/// large as the machine where cores have energy counters, and else of one entry; size at load.
#[btf_map]
pub static CORE_OF: Array<CpuCore, 1> = Array::new();

/// Key: the CPU that stands for a core. Its perf event, put there by user space; size at load.
#[btf_map]
pub static CORE_ENERGY: PerfEventArray = PerfEventArray::new();

/// Key: the CPU that stands for a core. Written by `core_switch` and `core_timer` on a CPU of that core,
/// under its lock; books and rates are read by the tick.
#[btf_map]
pub static CORES: Array<CoreState, 1> = Array::new();

/// Key: CPU. Its clocks at the last tick. Written by the tick of its package alone.
#[btf_map]
pub static CORE_CLOCKS: Array<CpuClocks, 1> = Array::new();

/// Key: package. Written by its tick alone.
#[btf_map]
pub static CORE_WEIGHTS: Array<CoreWeights, MAX_PACKAGES> = Array::new();

/// Key: CPU. The other thread of its core, or `NO_SIBLING`. Written by user space before anything is attached. This map
/// and the next are as large as the machine where cores have two threads, and else of one entry; size at load.
#[btf_map]
pub static SIBLING: Array<u32, 1> = Array::new();

/// Key: CPU. Written by `beside_switch` and the resync on that CPU alone, read by the tick of its package.
#[btf_map]
pub static BESIDE: Array<BesideState, 1> = Array::new();

/// Key: CPU. The perf event that counts its cycles, put there by user space.
#[btf_map]
pub static CYCLE_EVENTS: PerfEventArray = PerfEventArray::new();

/// Key: CPU. Written by `cycles_switch` and the timers on that CPU alone, read by the tick of its package; as large as the
/// machine where slices are weighed by cycles, and else of one entry; size at load.
#[btf_map]
pub static CYCLES: Array<CountState, 1> = Array::new();

/// Key: CPU. As `CYCLE_EVENTS`, of misses of the last cache level.
#[btf_map]
pub static MISS_EVENTS: PerfEventArray = PerfEventArray::new();

/// Key: CPU. As `CYCLES`, of misses of the last cache level.
#[btf_map]
pub static MISSES: Array<CountState, 1> = Array::new();

/// Key: 0. Where the clocks of a core are put together; there is no room on the stack.
#[btf_map]
pub static CORE_SCRATCH: PerCpuArray<CoreScratch, 1> = PerCpuArray::new();

/// Key: 0. Connections accepted so far, whose number is the next one's id. Added to atomically by accepts.
#[btf_map]
pub static NEXT_CONN: Array<u64, 1> = Array::new();

/// Ticks, boundaries, lifecycle. Untyped, so that libbpf loads it too.
#[btf_map]
pub static EVENTS: RingBuf<(), { 4 << 20 }> = RingBuf::new();

/// The slice stream; one page until `--slices` sets its size at load.
#[btf_map]
pub static SLICES: RingBuf<(), 4096> = RingBuf::new();

/// Clocks being put together.
#[repr(C)]
pub struct CoreScratch {
    /// The sum.
    pub clock: [u64; CONSUMERS],
    /// One CPU's, as long as it may turn out torn (so are a CPU's in `beside` and `counts`); then how far each clock has run.
    pub work: [u64; CONSUMERS],
    /// Pieces of which the cycles or cache misses are not known, of all CPUs together.
    pub missed: [u64; 2],
    /// Pieces in progress of which they are not.
    pub unknown: [u64; 2],
}

/// Arguments of a call of a TLS function.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SessionCall {
    /// The session.
    pub ssl: u64,
    /// Where the plaintext lies.
    pub buffer: u64,
    /// Where the function says how much it moved, if not in its result.
    pub moved: u64,
}

/// A boundary with room for its payload. The slack after the tail is never sent: it lets the verifier
/// bound every copy without knowing where the last one ended.
#[repr(C)]
pub struct IoScratch {
    /// Not 0 while a boundary is put together: where the kernel may take the CPU away from a program, another must not
    /// write here meanwhile.
    pub busy: u64,
    pub record: IoRecord,
    pub payload: [u8; 3 * HEAD_BYTES + 64],
    pub walk: Walk,
}

/// Where a walk through the segments of a vectored call stands.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Walk {
    /// Walking back: bytes of the call before the segments so far.
    pub left: u32,
    /// Bytes of the call in the segments so far.
    pub pos: u32,
    /// Of them, captured as head.
    pub head: u32,
    /// Captured as tail.
    pub tail: u32,
}

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])* #[unsafe(no_mangle)] pub static $name: Global<u32> = Global::new(0);)*
    };
}

offsets! {
    /// Highest online CPU at load, plus 1: a CPU above it that comes online later is in no clock.
    NR_CPUS;
    /// Not 0: misses of the last cache level are read beside cycles.
    READ_MISSES;
    /// Not 0: sockets say when data comes.
    TELLS_ARRIVALS;
    /// `task_struct.tgid`.
    OFF_TGID;
    /// `task_struct.pid`.
    OFF_PID;
    /// `task_struct.flags`.
    OFF_FLAGS;
    /// `task_struct.signal`.
    OFF_SIGNAL;
    /// `signal_struct.live`.
    OFF_LIVE;
    /// `task_struct.files`.
    OFF_FILES;
    /// `files_struct.fdt`.
    OFF_FDT;
    /// `fdtable.fd`.
    OFF_FD;
    /// `file.f_inode`.
    OFF_INODE;
    /// `inode.i_ino`.
    OFF_INO;
    /// `sock.sk_socket`.
    OFF_SOCKET;
    /// `inode.i_ino` of a `socket`, from the `socket` on.
    OFF_SOCKET_INO;
    /// `file.private_data`: a socket's `socket`.
    OFF_PRIVATE;
    /// `socket.sk`.
    OFF_SOCK;
    /// `sock_common.skc_family`.
    OFF_FAMILY;
    /// `sock.sk_protocol`.
    OFF_PROTOCOL;
    /// `tcp_sock.copied_seq`.
    OFF_COPIED;
    /// `tcp_sock.rcv_nxt`.
    OFF_RECEIVED;
    /// `sock.sk_receive_queue.qlen`.
    OFF_QUEUED;
    /// `msghdr.msg_iter`.
    OFF_ITER;
    /// `iov_iter.iter_type`.
    OFF_ITER_TYPE;
    /// `iov_iter.iov_offset`.
    OFF_ITER_DONE;
    /// `iov_iter.__iov`.
    OFF_ITER_IOV;
    /// `iov_iter.ubuf`.
    OFF_ITER_UBUF;
    /// `ITER_IOVEC`.
    ITER_IOVEC;
    /// `ITER_UBUF`; no type's number where the kernel has none.
    ITER_UBUF;
    /// First system call argument in `pt_regs`.
    OFF_ARG0;
    /// Second.
    OFF_ARG1;
    /// Third.
    OFF_ARG2;
    /// Fourth.
    OFF_ARG3;
    /// Fourth argument of a function in `pt_regs`.
    OFF_CALL3;
    /// Result of a function.
    OFF_RESULT;
}
