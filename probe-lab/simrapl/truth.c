// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/simrapl: the truth at the instant of reading, the slices in progress included. Energies are pJ of
 * active power (a package's idle energy is idle_pj). Format, one record a line, comm last:
 *
 *   simrapl 1 t_ns T
 *   package P pj E active_pj A idle_pj I dram_pj D dram_idle_pj I cores_pj C graphics_pj G shown_pj S
 *   platform pj E
 *   cpu N package P core C busy_ns T active_pj A lost_ns T lost_pj E
 *   process TGID ns T pj E tasks N comm NAME      every process since loading, exited ones too
 *   task PID tgid TGID ns T pj E runs N comm NAME
 */
#include <linux/mm.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/sort.h>
#include "simrapl.h"

static int by_process(const void *a, const void *b)
{
	const struct sim_task *x = a, *y = b;

	if (x->tgid != y->tgid)
		return x->tgid < y->tgid ? -1 : 1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* Copies a CPU's tasks as they are at `now`; returns how many. */
static unsigned int copy_tasks(struct seq_file *m, int cpu, u64 now, struct sim_task *to)
{
	struct sim_cpu *c = per_cpu(sim_cpus, cpu);
	u64 dt, pj, busy, active, lost_ns, lost_pj;
	unsigned long flags;
	unsigned int used;

	raw_spin_lock_irqsave(&c->lock, flags);
	dt = !c->idle && now > c->last ? now - c->last : 0;
	pj = dt * c->mw;
	used = c->used;
	memcpy(to, c->tasks, used * sizeof(*to));
	busy = c->busy_ns + dt;
	active = c->pj + pj;
	lost_ns = c->lost_ns;
	lost_pj = c->lost_pj;
	if (c->now) {
		to[c->now - c->tasks].ns += dt;
		to[c->now - c->tasks].pj += pj;
	} else {
		lost_ns += dt;
		lost_pj += pj;
	}
	raw_spin_unlock_irqrestore(&c->lock, flags);
	if (c->package >= 0)
		seq_printf(m, "cpu %d package %d core %d busy_ns %llu active_pj %llu lost_ns %llu lost_pj %llu\n",
			   cpu, c->package, c->core, busy, active, lost_ns, lost_pj);
	return used;
}

/* Folds entries of one task on several CPUs together; they are sorted. Returns how many are left. */
static unsigned int fold(struct sim_task *t, unsigned int n)
{
	unsigned int i, k = 0;

	for (i = 1; i < n; i++) {
		if (t[i].pid == t[k].pid && t[i].tgid == t[k].tgid) {
			t[k].ns += t[i].ns;
			t[k].pj += t[i].pj;
			t[k].runs += t[i].runs;
			if (t[i].seen > t[k].seen) {
				memcpy(t[k].comm, t[i].comm, TASK_COMM_LEN);
				t[k].seen = t[i].seen;
			}
		} else {
			t[++k] = t[i];
		}
	}
	return n ? k + 1 : 0;
}

static void show_process(struct seq_file *m, const struct sim_task *t, unsigned int n)
{
	u64 ns = 0, pj = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		ns += t[i].ns;
		pj += t[i].pj;
	}
	seq_printf(m, "process %d ns %llu pj %llu tasks %u comm %s\n", t->tgid, ns, pj, n, t->comm);
	for (i = 0; i < n; i++)
		seq_printf(m, "task %d tgid %d ns %llu pj %llu runs %llu comm %s\n", t[i].pid, t[i].tgid, t[i].ns,
			   t[i].pj, t[i].runs, t[i].comm);
}

static void show_packages(struct seq_file *m, u64 now)
{
	u64 t = now - sim_t0();
	int p;

	seq_printf(m, "simrapl 1 t_ns %llu\n", t);
	for (p = 0; p < SIM_PACKAGES; p++)
		if (sim_has_package(p))
			seq_printf(m, "package %d pj %llu active_pj %llu idle_pj %llu dram_pj %llu dram_idle_pj %llu cores_pj %llu graphics_pj %llu shown_pj %llu\n",
				   p, sim_domain_pj(p, SIM_PKG, now), sim_package_active_pj(p, now), t * idle_mw,
				   sim_domain_pj(p, SIM_DRAM, now), t * dram_idle_mw,
				   sim_domain_pj(p, SIM_PP0, now), sim_domain_pj(p, SIM_PP1, now),
				   sim_shown_pj(p, SIM_PKG));
	seq_printf(m, "platform pj %llu\n", sim_domain_pj(0, SIM_PSYS, now));
}

static int show(struct seq_file *m, void *v)
{
	struct sim_task *all = kvmalloc_array(num_possible_cpus() * SIM_TASKS, sizeof(*all), GFP_KERNEL);
	unsigned int n = 0, i, from;
	unsigned long flags;
	u64 now;
	int cpu;

	if (!all)
		return -ENOMEM;
	/*
	 * One instant for everything. A CPU that switches before its turn has moved past it by microseconds;
	 * readers who need the last digit read while the tasks in question do not run.
	 */
	local_irq_save(flags);
	now = sim_clock();
	show_packages(m, now);
	for_each_possible_cpu(cpu)
		n += copy_tasks(m, cpu, now, all + n);
	local_irq_restore(flags);
	sort(all, n, sizeof(*all), by_process, NULL);
	n = fold(all, n);
	for (from = 0; from < n; from = i) {
		for (i = from + 1; i < n && all[i].tgid == all[from].tgid; i++)
			;
		show_process(m, all + from, i - from);
	}
	kvfree(all);
	return 0;
}

/* Room for all of it, so that it is written once. */
static int open(struct inode *inode, struct file *file)
{
	return single_open_size(file, show, NULL, 1 << 20);
}

static const struct proc_ops ops = {
	.proc_open = open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
};

int sim_truth_start(void)
{
	return proc_create("simrapl", 0444, NULL, &ops) ? 0 : -ENOMEM;
}

void sim_truth_stop(void)
{
	remove_proc_entry("simrapl", NULL);
}
