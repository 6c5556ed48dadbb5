// SPDX-License-Identifier: GPL-2.0
/*
 * The registers. A kprobe on the two functions through which the kernel reads MSRs answers for RAPL's and
 * lets all others pass, so that the kernel's own rapl.ko and intel_rapl_msr.ko run unmodified on top.
 * Numbers: Intel SDM volume 4; AMD PPR (units, core and package energy).
 */
#include <linux/kprobes.h>
#include <linux/version.h>
#include <asm/cpufeature.h>
#include <asm/processor.h>
#include "simrapl.h"

static atomic64_t answers;
static bool amd;

u64 sim_msr_answers(void)
{
	return atomic64_read(&answers);
}

/*
 * On these servers the drivers take memory's unit to be 15.3 uJ (2^-16 J), whatever the unit register says:
 * Haswell, Broadwell, Skylake, Knights, Ice Lake, Sapphire and Emerald Rapids.
 */
unsigned int sim_drivers_dram_esu(void)
{
	static const u8 servers[] = { 0x3f, 0x4f, 0x56, 0x55, 0x57, 0x85, 0x6a, 0x6c, 0x8f, 0xcf };
	int i;

	if (boot_cpu_data.x86_vendor == X86_VENDOR_INTEL && boot_cpu_data.x86 == 6)
		for (i = 0; i < ARRAY_SIZE(servers); i++)
			if (boot_cpu_data.x86_model == servers[i])
				return 16;
	return esu;
}

static bool notrace energy(enum sim_domain domain, u64 *v)
{
	int package = (*this_cpu_ptr(&sim_cpus))->package;

	/* One platform, one register: it shows on the first package, as on real servers. */
	if (domain == SIM_PSYS && package != 0)
		*v = 0;
	else
		*v = domains & 1 << domain ? sim_register(package, domain) : 0;
	return true;
}

static bool notrace intel(u32 msr, u64 *v)
{
	switch (msr) {
	case 0x611: return energy(SIM_PKG, v);
	case 0x619: return energy(SIM_DRAM, v);
	case 0x639: return energy(SIM_PP0, v);
	case 0x641: return energy(SIM_PP1, v);
	case 0x64d: return energy(SIM_PSYS, v);
	case 0x606:				/* units: power 1/8 W, time 976 us */
		*v = 0xa0003 | esu << 8;
		return true;
	case 0x10a:				/* capabilities: the register 0xbc and its filter bit are there */
		*v = 1 << 10 | 1 << 11;
		return true;
	case 0xbc:
		*v = READ_ONCE(filter);
		return true;
	case 0x610: case 0x613: case 0x614:	/* limits, throttling, ranges: none */
	case 0x618: case 0x61b: case 0x61c:
	case 0x638: case 0x63a: case 0x63b:
	case 0x640: case 0x642: case 0x65c:
		*v = 0;
		return true;
	default:
		return false;
	}
}

static bool notrace of_amd(u32 msr, u64 *v)
{
	switch (msr) {
	case 0xc0010299:
		*v = 0xa0003 | esu << 8;
		return true;
	case 0xc001029a:
		*v = sim_core_register(raw_smp_processor_id());
		return true;
	case 0xc001029b:
		return energy(SIM_PKG, v);
	default:
		return false;
	}
}

static bool notrace answer(u32 msr, u64 *v)
{
	if (!(amd ? of_amd(msr, v) : intel(msr, v)))
		return false;
	atomic64_inc(&answers);
	return true;
}

/* Back to the caller, as if the function had run. */
static void notrace leave(struct pt_regs *r)
{
	r->ip = *(unsigned long *)r->sp;
	r->sp += 8;
}

static int notrace on_read(struct kprobe *p, struct pt_regs *r)
{
	u64 v;

	if (!answer((u32)r->di, &v))
		return 0;
	r->ax = v;
	leave(r);
	return 1;
}

static int notrace on_read_safe(struct kprobe *p, struct pt_regs *r)
{
	u64 v;

	if (!answer((u32)r->di, &v))
		return 0;
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
	*(int *)r->si = 0;		/* u64 f(u32 msr, int *err) */
	r->ax = v;
#else
	*(u64 *)r->si = v;		/* int f(u32 msr, u64 *v) */
	r->ax = 0;
#endif
	leave(r);
	return 1;
}

/* A probe with a post handler is never replaced by a jump. */
static void notrace after(struct kprobe *p, struct pt_regs *r, unsigned long flags)
{
}

static struct kprobe probes[] = {
	{ .symbol_name = "native_read_msr", .pre_handler = on_read, .post_handler = after },
	{ .symbol_name = "native_read_msr_safe", .pre_handler = on_read_safe, .post_handler = after },
};

int sim_msr_start(void)
{
	int i, r;

	amd = boot_cpu_data.x86_vendor == X86_VENDOR_AMD;
#ifdef X86_FEATURE_RAPL
	if (amd)			/* QEMU's EPYC models lack the bit that rapl.ko asks for */
		set_bit(X86_FEATURE_RAPL, (unsigned long *)boot_cpu_data.x86_capability);
#endif
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		r = register_kprobe(&probes[i]);
		if (r) {
			pr_err("simrapl: no kprobe on %s: %d\n", probes[i].symbol_name, r);
			while (i--)
				unregister_kprobe(&probes[i]);
			return r;
		}
	}
	return 0;
}

void sim_msr_stop(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		unregister_kprobe(&probes[i]);
}
