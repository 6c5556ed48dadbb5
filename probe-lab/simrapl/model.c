// SPDX-License-Identifier: GPL-2.0
/*
 * The power model. A task draws its watts from the switch that puts it on a CPU to the switch that takes
 * it off: N watts where it is called burn-N..., else active_mw. That is integrated exactly, by the clock
 * that BPF programs read. What the registers show is a copy of it that is taken every update_us.
 *
 *   package  = idle_mw t + active        cores    = core_pct of active, within the package
 *   dram     = dram_idle_mw t + dram_pct of active
 *   graphics = uncore_mw t, within the package's idle power
 *   platform = every package and its dram + platform_mw t
 */
#include <linux/hash.h>
#include <linux/hrtimer.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/topology.h>
#include <linux/tracepoint.h>
#include <linux/version.h>
#include "simrapl.h"

DEFINE_PER_CPU(struct sim_cpu *, sim_cpus);

static u64 t0;
static u64 shown[SIM_PACKAGES][SIM_DOMAINS];
static bool present[SIM_PACKAGES];
static struct hrtimer timer;
static struct tracepoint *switches;
static u32 dice;
static u64 refreshed;
static atomic_t refreshing = ATOMIC_INIT(0);

u64 notrace sim_clock(void)
{
	return ktime_get_mono_fast_ns();
}

u64 sim_t0(void)
{
	return t0;
}

bool sim_has_package(int package)
{
	return package >= 0 && package < SIM_PACKAGES && READ_ONCE(present[package]);
}

/* mW of a task: burn-30-anything draws 30 W. */
static u64 task_mw(const struct task_struct *p)
{
	u64 watts = 0;
	int i;

	if (!p->pid)
		return 0;
	if (memcmp(p->comm, "burn-", 5))
		return active_mw;
	for (i = 5; i < 9 && p->comm[i] >= '0' && p->comm[i] <= '9'; i++)
		watts = watts * 10 + p->comm[i] - '0';
	return watts * 1000;
}

/* Where a CPU sits. The package and the core are kept, because an offline CPU forgets them. */
static void place(struct sim_cpu *c, int cpu)
{
	int package = topology_physical_package_id(cpu);

	if (package < 0 || package >= SIM_PACKAGES)
		return;
	c->core = topology_core_id(cpu);
	c->package = package;
	WRITE_ONCE(present[package], true);
}

/* This CPU's entry of a task; NULL where there is no room. */
static struct sim_task *entry(struct sim_cpu *c, const struct task_struct *p)
{
	u32 slot = hash_32(p->pid, 13);
	struct sim_task *t;

	BUILD_BUG_ON(SIM_INDEX != 1 << 13);
	for (; c->at[slot]; slot = (slot + 1) & (SIM_INDEX - 1)) {
		t = &c->tasks[c->at[slot] - 1];
		if (t->pid == p->pid)
			return t;
	}
	if (c->used == SIM_TASKS)
		return NULL;
	t = &c->tasks[c->used++];
	c->at[slot] = c->used;
	t->pid = p->pid;
	t->tgid = p->tgid;
	return t;
}

/* The last name counts: exec gives a new one. */
static void call_it(struct sim_task *t, const struct task_struct *p, u64 now)
{
	memcpy(t->comm, p->comm, TASK_COMM_LEN);
	t->seen = now;
}

static void on_switch(void *data, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct sim_cpu *c = this_cpu_read(sim_cpus);
	u64 now, dt, pj;

	raw_spin_lock(&c->lock);
	if (unlikely(c->package < 0))
		place(c, smp_processor_id());
	/*
	 * The instant is taken where readers already wait. An emulated CPU may be held up at any place: a
	 * reader with a later instant would show what is never drawn, and the register would go back.
	 */
	raw_write_seqcount_begin(&c->seq);
	now = sim_clock();
	dt = now > c->last ? now - c->last : 0;
	pj = dt * c->mw;
	c->last += dt;
	c->pj += pj;
	c->mw = task_mw(next);
	raw_write_seqcount_end(&c->seq);
	if (!c->idle) {
		c->busy_ns += dt;
		if (c->now) {
			c->now->ns += dt;
			c->now->pj += pj;
			c->now->runs++;
			call_it(c->now, prev, now);
		} else {
			c->lost_ns += dt;
			c->lost_pj += pj;
		}
	}
	c->idle = !next->pid;
	c->now = c->idle ? NULL : entry(c, next);
	if (c->now)
		call_it(c->now, next, now);
	raw_spin_unlock(&c->lock);
}

/* Active energy of a CPU up to now, the slice in progress included. */
static u64 notrace cpu_active_pj(struct sim_cpu *c, u64 now)
{
	unsigned int seq;
	u64 pj;

	do {
		seq = raw_read_seqcount(&c->seq);
		pj = c->pj + (now > c->last ? now - c->last : 0) * c->mw;
	} while ((seq & 1) || read_seqcount_retry(&c->seq, seq));
	return pj;
}

u64 notrace sim_package_active_pj(int package, u64 now)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		struct sim_cpu *c = per_cpu(sim_cpus, cpu);

		if (READ_ONCE(c->package) == package)
			sum += cpu_active_pj(c, now);
	}
	return sum;
}

static u64 notrace percent(u64 pj, u32 pct)
{
	return div_u64(pj, 100) * pct;
}

u64 notrace sim_domain_pj(int package, enum sim_domain domain, u64 now)
{
	u64 t = now - t0, sum;
	int p;

	switch (domain) {
	case SIM_PKG:
		return t * idle_mw + sim_package_active_pj(package, now);
	case SIM_DRAM:
		return t * dram_idle_mw + percent(sim_package_active_pj(package, now), dram_pct);
	case SIM_PP0:
		return percent(sim_package_active_pj(package, now), core_pct);
	case SIM_PP1:
		return t * uncore_mw;
	case SIM_PSYS:
		sum = t * platform_mw;
		for (p = 0; p < SIM_PACKAGES; p++)
			if (sim_has_package(p))
				sum += sim_domain_pj(p, SIM_PKG, now) + sim_domain_pj(p, SIM_DRAM, now);
		return sum;
	default:
		return 0;
	}
}

/* Copies the model to the registers. One CPU at a time: a register never goes back. */
static void notrace refresh(void)
{
	u64 now;
	int p, d, cpu;

	if (READ_ONCE(stuck) || atomic_cmpxchg(&refreshing, 0, 1))
		return;
	/* Another CPU's clock may be a little ahead of this one's. */
	now = max(sim_clock(), refreshed);
	for (p = 0; p < SIM_PACKAGES; p++)
		for (d = 0; d < SIM_DOMAINS && present[p]; d++)
			WRITE_ONCE(shown[p][d], sim_domain_pj(p, d, now));
	for_each_possible_cpu(cpu) {
		struct sim_cpu *c = per_cpu(sim_cpus, cpu);

		WRITE_ONCE(c->shown_pj, cpu_active_pj(c, now));
	}
	WRITE_ONCE(refreshed, now);
	atomic_set_release(&refreshing, 0);
}

/* Hardware keeps time where the timer's CPU does not: an emulated one may be held up for seconds. */
void notrace sim_keep_up(void)
{
	u64 late = 2000ULL * (READ_ONCE(update_us) + READ_ONCE(jitter_us));

	if (sim_clock() > READ_ONCE(refreshed) + late)
		refresh();
}

u64 notrace sim_shown_pj(int package, enum sim_domain domain)
{
	return sim_has_package(package) ? READ_ONCE(shown[package][domain]) : 0;
}

static u32 notrace counts(u64 pj, u32 unit)
{
	if (step_nj)
		return raw_start + div64_u64(pj, 1000ULL * step_nj);
	return raw_start + mul_u64_u64_div_u64(pj, 1ULL << unit, 1000000000000ULL);
}

/* The 32-bit register as the hardware would show it. */
u32 notrace sim_register(int package, enum sim_domain domain)
{
	sim_keep_up();
	return counts(sim_shown_pj(package, domain), domain == SIM_DRAM ? dram_esu : esu);
}

/* AMD's register of one core: the active part of its hardware threads. */
u32 notrace sim_core_register(int cpu)
{
	struct sim_cpu *me = per_cpu(sim_cpus, cpu);
	u64 sum = 0;
	int i;

	sim_keep_up();
	for_each_possible_cpu(i) {
		struct sim_cpu *c = per_cpu(sim_cpus, i);

		if (c->package == me->package && c->core == me->core)
			sum += READ_ONCE(c->shown_pj);
	}
	return counts(percent(sum, core_pct), esu);
}

static enum hrtimer_restart update(struct hrtimer *h)
{
	u64 late = 0;

	refresh();
	if (READ_ONCE(jitter_us)) {
		dice = dice * 1664525 + 1013904223;
		late = ((u64)dice * READ_ONCE(jitter_us) * 1000) >> 32;
	}
	hrtimer_forward_now(h, ns_to_ktime((READ_ONCE(update_us) ?: 1) * 1000ULL + late));
	return HRTIMER_RESTART;
}

static void find_switches(struct tracepoint *t, void *unused)
{
	if (!strcmp(t->name, "sched_switch"))
		switches = t;
}

static void free_cpus(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		kvfree(per_cpu(sim_cpus, cpu));
}

static int make_cpus(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct sim_cpu *c = kvzalloc(sizeof(*c), GFP_KERNEL);

		per_cpu(sim_cpus, cpu) = c;
		if (!c)
			return -ENOMEM;
		raw_spin_lock_init(&c->lock);
		seqcount_init(&c->seq);
		c->last = t0;
		c->idle = true;		/* nothing is drawn before a CPU's first switch */
		c->package = -1;
		if (cpu_online(cpu))
			place(c, cpu);
	}
	return 0;
}

int sim_model_start(void)
{
	int r;

	dice = seed;
	t0 = sim_clock();
	r = make_cpus();
	if (r)
		goto out;
	for_each_kernel_tracepoint(find_switches, NULL);
	r = switches ? tracepoint_probe_register(switches, on_switch, NULL) : -ENOENT;
	if (r)
		goto out;
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
	hrtimer_init(&timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	timer.function = update;
#else
	hrtimer_setup(&timer, update, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
#endif
	hrtimer_start(&timer, ns_to_ktime(update_us * 1000ULL), HRTIMER_MODE_REL_HARD);
	return 0;
out:
	free_cpus();
	return r;
}

void sim_model_stop(void)
{
	hrtimer_cancel(&timer);
	tracepoint_probe_unregister(switches, on_switch, NULL);
	tracepoint_synchronize_unregister();
	free_cpus();
}
