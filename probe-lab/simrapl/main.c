// SPDX-License-Identifier: GPL-2.0
/* simrapl: parameters, loading and unloading. See README.md. */
#include <linux/module.h>
#include "simrapl.h"

unsigned int idle_mw = 5000;
module_param(idle_mw, uint, 0444);
MODULE_PARM_DESC(idle_mw, "what a package draws always, mW");
unsigned int active_mw = 10000;
module_param(active_mw, uint, 0444);
MODULE_PARM_DESC(active_mw, "what a task draws that is not called burn-N, mW");
unsigned int dram_idle_mw = 1000;
module_param(dram_idle_mw, uint, 0444);
MODULE_PARM_DESC(dram_idle_mw, "what a package's memory draws always, mW");
unsigned int dram_pct = 20;
module_param(dram_pct, uint, 0444);
MODULE_PARM_DESC(dram_pct, "memory's part on top of active power, percent");
unsigned int core_pct = 80;
module_param(core_pct, uint, 0444);
MODULE_PARM_DESC(core_pct, "the cores' part of active power, percent");
unsigned int uncore_mw = 500;
module_param(uncore_mw, uint, 0444);
MODULE_PARM_DESC(uncore_mw, "built-in graphics' part of idle power, mW");
unsigned int platform_mw = 8000;
module_param(platform_mw, uint, 0444);
MODULE_PARM_DESC(platform_mw, "what the platform draws beside packages and memory, mW");
unsigned int update_us = 1000;
module_param(update_us, uint, 0644);
MODULE_PARM_DESC(update_us, "microseconds between updates of the registers");
unsigned int jitter_us;
module_param(jitter_us, uint, 0644);
MODULE_PARM_DESC(jitter_us, "each update comes up to so many microseconds later");
unsigned int seed = 1;
module_param(seed, uint, 0444);
MODULE_PARM_DESC(seed, "of the jitter");
unsigned int esu = 14;
module_param(esu, uint, 0444);
MODULE_PARM_DESC(esu, "the registers count units of 2^-esu J");
unsigned int dram_esu;
module_param(dram_esu, uint, 0444);
MODULE_PARM_DESC(dram_esu, "the same of memory; 0: what the drivers take for granted on this CPU model");
unsigned int step_nj;
module_param(step_nj, uint, 0444);
MODULE_PARM_DESC(step_nj, "count steps of so many nanojoules instead, whatever the unit register says");
unsigned int domains = 0x1f;
module_param(domains, uint, 0444);
MODULE_PARM_DESC(domains, "registers there are: 1 package, 2 dram, 4 cores, 8 graphics, 16 platform");
ulong raw_start = 1000000;
module_param(raw_start, ulong, 0444);
MODULE_PARM_DESC(raw_start, "value of every register at the start; drivers skip one that reads 0");
bool stuck;
module_param(stuck, bool, 0644);
MODULE_PARM_DESC(stuck, "the registers stay as they are");
bool filter;
module_param(filter, bool, 0644);
MODULE_PARM_DESC(filter, "MSR 0xbc says that energy is filtered");

static int __init simrapl_init(void)
{
	int r;

	if (!update_us || esu > 31 || dram_esu > 31)
		return -EINVAL;
	if (!dram_esu)
		dram_esu = sim_drivers_dram_esu();
	r = sim_model_start();
	if (r)
		return r;
	r = sim_truth_start();
	if (r)
		goto no_truth;
	r = sim_msr_start();
	if (r)
		goto no_msr;
	pr_info("simrapl: up\n");
	return 0;
no_msr:
	sim_truth_stop();
no_truth:
	sim_model_stop();
	return r;
}

static void __exit simrapl_exit(void)
{
	sim_msr_stop();
	sim_truth_stop();
	sim_model_stop();
	pr_info("simrapl: down after %llu answers\n", sim_msr_answers());
}

module_init(simrapl_init);
module_exit(simrapl_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("RAPL registers with known joules, for tests in a virtual machine");
