/* SPDX-License-Identifier: GPL-2.0 */
/*
 * simrapl: a RAPL device whose joules are known.
 *
 * Units: time in ns, power in mW, energy in pJ (mW x ns = pJ): sums are exact integers.
 */
#ifndef SIMRAPL_H
#define SIMRAPL_H

#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#define SIM_PACKAGES 8
#define SIM_TASKS 4096		/* tasks one CPU can tell apart */
#define SIM_INDEX 8192		/* hash slots, a power of two above SIM_TASKS */

/* Bits of the parameter "domains" and places in tables. */
enum sim_domain { SIM_PKG, SIM_DRAM, SIM_PP0, SIM_PP1, SIM_PSYS, SIM_DOMAINS };

/* What one task used on one CPU. */
struct sim_task {
	pid_t pid, tgid;
	char comm[TASK_COMM_LEN];
	u64 ns, pj, runs;
	u64 seen;			/* when it had that name */
};

/* One CPU. Written by that CPU only, in sched_switch, under lock; seq is for readers of the sums. */
struct sim_cpu {
	raw_spinlock_t lock;
	seqcount_t seq;
	int package, core;		/* -1 until the CPU was online */
	u64 last, mw;			/* since when, and what, the task on the CPU draws */
	u64 pj;				/* active energy of closed slices */
	u64 shown_pj;			/* active energy at the register's last update */
	u64 busy_ns;
	u64 lost_ns, lost_pj;		/* of tasks that found no room */
	struct sim_task *now;		/* the task on the CPU; NULL: idle, or no room */
	bool idle;
	unsigned int used;
	u16 at[SIM_INDEX];		/* 1 + place in tasks */
	struct sim_task tasks[SIM_TASKS];
};
DECLARE_PER_CPU(struct sim_cpu *, sim_cpus);

/* Parameters, see README.md. */
extern unsigned int idle_mw, active_mw, dram_idle_mw, dram_pct, core_pct, uncore_mw, platform_mw;
extern unsigned int update_us, jitter_us, esu, dram_esu, step_nj, domains, seed;
extern ulong raw_start;
extern bool stuck, filter;

/* model.c: the power model and the registers' contents */
u64 sim_clock(void);
u64 sim_t0(void);
u64 sim_package_active_pj(int package, u64 now);
u64 sim_domain_pj(int package, enum sim_domain domain, u64 now);
void sim_keep_up(void);
u64 sim_shown_pj(int package, enum sim_domain domain);
u32 sim_register(int package, enum sim_domain domain);
u32 sim_core_register(int cpu);
bool sim_has_package(int package);
int sim_model_start(void);
void sim_model_stop(void);

/* msr.c: what the kernel's drivers read */
int sim_msr_start(void);
void sim_msr_stop(void);
u64 sim_msr_answers(void);
unsigned int sim_drivers_dram_esu(void);

/* truth.c: /proc/simrapl */
int sim_truth_start(void);
void sim_truth_stop(void);

#endif
