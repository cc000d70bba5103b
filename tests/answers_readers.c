// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * In the machine: what libgmem(7) says about other readers of a guest's memory, in place and
 * with two backings: KVM's emulator, and other processes; and about signals, marks and live
 * update.  TAP.
 */
#include <linux/userfaultfd.h>
#include <sys/time.h>

#include "holders.h"
#include "look.h"
#include "one_memory.h"
#include "tap.h"

/* ---- The emulator -------------------------------------------------------------- */

#define TO_FS		0x64
#define HLT		0xf4
/* mov al, fs:[offset]: MMIO to a device at DEVICE_GPA. */
#define READ_DEVICE(offset)	TO_FS, 0xa0, offset, 0
#define OTHER_REGISTER		8

static char *code_page;

/* From here on the guest's code is in a slot of ordinary memory that belongs to the caller. */
static void make_code_page(void)
{
	struct kvm_userspace_memory_region region = {
		.slot = CODE_SLOT, .guest_phys_addr = CODE_GPA, .memory_size = PAGE,
	};

	code_page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(code_page == MAP_FAILED ? -errno : 0, "mmap");
	region.userspace_addr = (uintptr_t)code_page;
	check(sys(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &region)), "memslot");
	check(gmem_exclude(memories, CODE_GPA, PAGE), "gmem_exclude");
}

static void set_segment(struct kvm_segment *segment, uint64_t gpa)
{
	segment->base = gpa;
	segment->selector = gpa >> 4;
}

/* Returns the exit reason. */
static uint32_t enter(const struct kvm_sregs *sregs, uint64_t rip)
{
	struct kvm_regs regs = { .rflags = 2, .rip = rip, .rsp = CODE_GPA + PAGE };

	/* Completing the last exit would move rip, so do that first. */
	vm.run->immediate_exit = 1;
	ioctl(vm.vcpu, KVM_RUN, 0);
	vm.run->immediate_exit = 0;
	check(sys(ioctl(vm.vcpu, KVM_SET_SREGS, sregs)), "KVM_SET_SREGS");
	check(sys(ioctl(vm.vcpu, KVM_SET_REGS, &regs)), "KVM_SET_REGS");
	check(sys(ioctl(vm.vcpu, KVM_RUN, 0)), "KVM_RUN");
	printf("# exit %u\n", vm.run->exit_reason);
	return vm.run->exit_reason;
}

/*
 * In real mode, from the code page: ds is that page, or the memory; es the memory; fs the
 * device.
 */
static uint32_t run(const uint8_t *code, size_t size, bool ds_is_memory)
{
	struct kvm_sregs sregs;

	memcpy(code_page, code, size);
	check(sys(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs)), "KVM_GET_SREGS");
	set_segment(&sregs.cs, CODE_GPA);
	set_segment(&sregs.ds, ds_is_memory ? DATA_GPA : CODE_GPA);
	set_segment(&sregs.es, DATA_GPA);
	set_segment(&sregs.fs, DEVICE_GPA);
	return enter(&sregs, 0);
}

static bool is_mmio(uint32_t exit_reason, uint64_t gpa)
{
	return exit_reason == KVM_EXIT_MMIO && vm.run->mmio.phys_addr == gpa;
}

static bool cannot_emulate(uint32_t exit_reason)
{
	return exit_reason == KVM_EXIT_INTERNAL_ERROR &&
	       vm.run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION;
}

/* Writes code that reads a device to the memory, and jumps there. */
static const uint8_t makes_its_code[] = {
	0xbe, 16, 0,		/* mov si, 16 */
	0x31, 0xff,		/* xor di, di */
	0xb9, 5, 0,		/* mov cx, 5 */
	0xf3, 0xa4,		/* rep movsb */
	0xea, 0, 0, 0, DATA_GPA >> 12,	/* jmp DATA_GPA:0 */
	0x90,
	READ_DEVICE(0), HLT,
};

static const uint8_t reads_device[] = { READ_DEVICE(0), HLT };
static const uint8_t sends_string[] = { 0x31, 0xf6, 0xba, BELL, 0, 0x6e, HLT };	/* outsb */

static void code_in_two_backings(void)
{
	static const uint8_t other_code[] = { READ_DEVICE(OTHER_REGISTER), HLT };

	make_vm(GMEM_TWO_BACKINGS);
	make_code_page();
	check(convert(0, PAGES, GMEM_PRIVATE), "to private");
	/* The host can write to the shared half, but the guest executes none of it. */
	memcpy(hva, other_code, sizeof(other_code));
	result(is_mmio(run(makes_its_code, sizeof(makes_its_code), false),
		       DEVICE_GPA + OTHER_REGISTER),
	       "emulator.two_backings.private_code_is_read_from_the_shared_half");
}

static void code_in_place(void)
{
	make_vm(GMEM_IN_PLACE);
	make_code_page();
	check(convert(0, PAGES, GMEM_PRIVATE), "to private");
	result(cannot_emulate(run(makes_its_code, sizeof(makes_its_code), false)),
	       "emulator.in_place.private_code_is_not_read");
	result(is_mmio(run(reads_device, sizeof(reads_device), false), DEVICE_GPA),
	       "emulator.in_place.code_in_an_ordinary_slot_does_mmio");
}

/* The byte at the start of the memory, as outs sends it, or -1 if the run ends differently. */
static int sent_byte(void)
{
	if (run(sends_string, sizeof(sends_string), true) != KVM_EXIT_IO)
		return -1;
	return *((char *)vm.run + vm.run->io.data_offset);
}

static void operands(void)
{
	make_vm(GMEM_IN_PLACE);
	make_code_page();
	hva[0] = 'o';
	result(sent_byte() == 'o', "emulator.in_place.shared_operand_is_read");
	check(convert(0, PAGES, GMEM_PRIVATE), "to private");
	result(sent_byte() == -1 && is_mmio(vm.run->exit_reason, DATA_GPA),
	       "emulator.in_place.private_operand_is_taken_for_mmio");
}

static void operands_in_two_backings(void)
{
	make_vm(GMEM_TWO_BACKINGS);
	make_code_page();
	check(convert(0, PAGES, GMEM_PRIVATE), "to private");
	hva[0] = 'o';
	result(sent_byte() == 'o', "emulator.two_backings.private_operand_is_read_from_the_shared_half");
}

/*
 * In the code page: code that reads the device, a page fault handler that rings the bell, and
 * the tables that lead there.
 */
#define HANDLER		0x100
#define IDT		0x400
#define GDT		0x800
#define CODE_SELECTOR	8
#define DATA_SELECTOR	16
#define PAGE_FAULT	14
#define TABLE		8ul

/* 32-bit mode, with a page table of 4 MiB pages in the memory. */
static uint32_t run_paged(void)
{
	static const uint8_t code[] = { 0xa0, 0, 0, DEVICE_GPA >> 16, 0, HLT };
	static const uint8_t handler[] = { 0xe6, BELL, HLT };
	static const uint64_t gdt[] = { 0, 0xcf9b000000ffff, 0xcf93000000ffff };
	struct kvm_segment flat = {
		.limit = 0xffffffff, .type = 11, .present = 1, .s = 1, .db = 1, .g = 1,
		.selector = CODE_SELECTOR,
	};
	const uint64_t gate = (CODE_GPA + HANDLER) | CODE_SELECTOR << 16 | 0x8eull << 40;
	struct kvm_sregs sregs;

	memcpy(code_page, code, sizeof(code));
	memcpy(code_page + HANDLER, handler, sizeof(handler));
	memcpy(code_page + GDT, gdt, sizeof(gdt));
	memcpy(code_page + IDT + PAGE_FAULT * sizeof(gate), &gate, sizeof(gate));

	check(sys(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs)), "KVM_GET_SREGS");
	sregs.cs = flat;
	flat.type = 3;
	flat.selector = DATA_SELECTOR;
	sregs.ds = flat;
	sregs.es = flat;
	sregs.ss = flat;
	sregs.gdt = (struct kvm_dtable){ .base = CODE_GPA + GDT, .limit = sizeof(gdt) - 1 };
	sregs.idt = (struct kvm_dtable){ .base = CODE_GPA + IDT, .limit = 0xff };
	sregs.cr3 = DATA_GPA + TABLE * PAGE;
	/* PSE; PE and PG. */
	sregs.cr4 |= 1 << 4;
	sregs.cr0 |= 0x80000001;
	return enter(&sregs, CODE_GPA);
}

static void page_tables(void)
{
	struct kvm_sregs sregs;
	uint32_t exit_reason;

	make_vm(GMEM_IN_PLACE);
	make_code_page();
	/* Present, writable, 4 MiB. */
	*(uint32_t *)(hva + TABLE * PAGE) = 0x83;
	result(is_mmio(run_paged(), DEVICE_GPA), "emulator.in_place.shared_page_tables_are_read");
	check(convert(TABLE, 1, GMEM_PRIVATE), "to private");
	exit_reason = run_paged();
	check(sys(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs)), "KVM_GET_SREGS");
	printf("# cr2 %#llx\n", (unsigned long long)sregs.cr2);
	result(exit_reason == KVM_EXIT_IO && vm.run->io.port == BELL && sregs.cr2 == CODE_GPA,
	       "emulator.in_place.private_page_tables_are_a_page_fault_of_the_guest");
}

/* ---- Other processes ------------------------------------------------------------ */

/* mov byte es:[0], 'p': a byte that only the guest may see. */
static const uint8_t writes_p[] = { 0x26, 0xc6, 0x06, 0, 0, 'p', HLT };

/* How many bytes /proc/PID/mem of the parent returns for @nr pages from @page on, or -errno. */
static ssize_t read_parent(uint64_t page, uint64_t nr, char *bytes)
{
	char name[64];
	ssize_t size;
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/mem", getppid());
	fd = open(name, O_RDONLY | O_CLOEXEC);
	size = pread(fd, bytes, nr * PAGE, (uintptr_t)hva + page * PAGE);
	if (size < 0)
		size = -errno;
	close(fd);
	return size;
}

/* The same with process_vm_readv(). */
static ssize_t copy_parent(uint64_t page, uint64_t nr, char *bytes)
{
	struct iovec to = { bytes, nr * PAGE }, from = { hva + page * PAGE, nr * PAGE };
	ssize_t size = process_vm_readv(getppid(), &to, 1, &from, 1, 0);

	return size < 0 ? -errno : size;
}

/* Page 0 is private, page 1 shared, page 2 private. */
static bool reads_shared_pages_alone(void)
{
	static char bytes[2][2 * PAGE];

	return read_parent(1, 2, bytes[0]) == PAGE && copy_parent(1, 2, bytes[1]) == PAGE &&
	       bytes[0][0] == 's' && bytes[0][PAGE - 1] == 's' &&
	       !memcmp(bytes[0], bytes[1], PAGE) &&
	       read_parent(0, 1, bytes[0]) == -EIO && copy_parent(0, 1, bytes[0]) == -EFAULT &&
	       read_parent(2, 1, bytes[0]) == -EIO && copy_parent(2, 1, bytes[0]) == -EFAULT;
}

static bool reads_the_shared_half(void)
{
	char *file = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, gmem_shared_fd(ram), 0);
	static char bytes[2][3 * PAGE];

	return file != MAP_FAILED && read_parent(0, 3, bytes[0]) == 3 * PAGE &&
	       copy_parent(0, 3, bytes[1]) == 3 * PAGE && bytes[0][PAGE] == 's' &&
	       !memcmp(bytes[0], bytes[1], 3 * PAGE) && !memcmp(bytes[0], file, 3 * PAGE) &&
	       !memchr(file, 'p', PAGES * PAGE);
}

static void proc_mem(enum gmem_mechanism mechanism)
{
	bool is_right;

	make_vm(mechanism);
	make_code_page();
	memset(hva, 's', PAGES * PAGE);
	check(convert(0, 1, GMEM_PRIVATE), "to private");
	check(convert(2, 1, GMEM_PRIVATE), "to private");
	is_right = run(writes_p, sizeof(writes_p), false) == KVM_EXIT_HLT;
	if (mechanism == GMEM_IN_PLACE)
		result(is_right && in_child(reads_shared_pages_alone),
		       "other_process.in_place.reads_up_to_a_private_page");
	else
		result(is_right && in_child(reads_the_shared_half),
		       "other_process.two_backings.reads_the_shared_half");
}

static void proc_mem_in_place(void)
{
	proc_mem(GMEM_IN_PLACE);
}

static void proc_mem_in_two_backings(void)
{
	proc_mem(GMEM_TWO_BACKINGS);
}

/*
 * A child that reports when it has done @before, and then waits for the parent before it does
 * @after.
 */
struct other {
	pid_t pid;
	int from;
	int to;
};

static struct other begin_other(void (*before)(void), bool (*after)(void))
{
	struct other other;
	int from[2], to[2];
	char c;

	check(sys(pipe(from)), "pipe");
	check(sys(pipe(to)), "pipe");
	fflush(stdout);
	other.pid = fork();
	check(sys(other.pid), "fork");
	if (!other.pid) {
		close(to[1]);
		before();
		check(write(from[1], "b", 1) == 1 ? 0 : EPIPE, "write");
		_exit(read(to[0], &c, 1) == 1 && after() ? 0 : 1);
	}
	close(from[1]);
	close(to[0]);
	check(read(from[0], &c, 1) == 1 ? 0 : EPIPE, "the other process");
	other.from = from[0];
	other.to = to[1];
	return other;
}

/* Returns whether the child found what it should. */
static bool end_other(const struct other *other)
{
	int status;

	check(write(other->to, "a", 1) == 1 ? 0 : EPIPE, "write");
	check(waitpid(other->pid, &status, 0) == other->pid ? 0 : ECHILD, "waitpid");
	return !status;
}

static void hold_by_file(void)
{
	char *mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			 gmem_shared_fd(ram), 0);
	int ends[2];

	check(mem == MAP_FAILED ? -errno : 0, "mmap");
	mem[PAGE] = 'h';
	hold_in_pipe(mem + PAGE, ends);
}

static bool is_there(void)
{
	return look(hva) == 's' && look(hva + (PAGES - 1) * PAGE) == 's';
}

static void nothing(void)
{
}

static void other_processes(void)
{
	struct gmem_result refusal = GMEM_INIT(struct gmem_result);
	struct other other;
	int r;

	make_vm(GMEM_IN_PLACE);
	memset(hva, 's', PAGES * PAGE);
	other = begin_other(hold_by_file, is_there);
	r = gmem_convert(ram, 0, 2 * PAGE, GMEM_PRIVATE, NULL, &refusal);
	result(end_other(&other) && r == -EAGAIN && refusal.where == PAGE &&
	       !convert(0, 2, GMEM_PRIVATE) && !convert(0, 2, GMEM_SHARED),
	       "back_end.page_that_it_holds_stays_shared_until_it_ends");

	other = begin_other(nothing, is_there);
	gmem_destroy(ram);
	result(end_other(&other), "fork.memory_that_is_destroyed_is_the_childs_until_it_ends");
}

/* ---- Signals --------------------------------------------------------------------- */

static volatile sig_atomic_t nr_signals;

static void count_signal(int number)
{
	(void)number;
	nr_signals++;
}

static void signals(void)
{
	const struct itimerval each_millisecond = { { 0, 1000 }, { 0, 1000 } }, never = {};
	struct sigaction action = { .sa_handler = count_signal };
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_result refusal = GMEM_INIT(struct gmem_result);
	int ends[2], r;

	make_vm(GMEM_IN_PLACE);
	hva[0] = 'h';
	hold_in_pipe(hva, ends);
	sigaction(SIGALRM, &action, NULL);
	opts.timeout_ms = 3000;
	setitimer(ITIMER_REAL, &each_millisecond, NULL);
	r = gmem_convert(ram, 0, PAGE, GMEM_PRIVATE, &opts, &refusal);
	setitimer(ITIMER_REAL, &never, NULL);
	printf("# %d signals, %u attempts: %s\n", (int)nr_signals, refusal.attempts, strerror(-r));
	result(r == -EAGAIN && refusal.attempts > 1 && nr_signals, "signals.end_no_call");
}

/* ---- Marks of userfaultfd --------------------------------------------------------- */

/* From Linux 6.7; the headers of Debian 12 do not have them. */
#define WP_UNPOPULATED		(1 << 13)
#define WP_ASYNC		(1 << 15)
#define PAGEMAP_IS_MARKED	(1ull << 57)

static void mark_all(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = WP_UNPOPULATED | WP_ASYNC };
	struct uffdio_register range = {
		.range = { (uintptr_t)hva, PAGES * PAGE }, .mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect mark = {
		.range = range.range, .mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	check(sys(fd), "userfaultfd");
	check(sys(ioctl(fd, UFFDIO_API, &api)), "UFFDIO_API");
	check(sys(ioctl(fd, UFFDIO_REGISTER, &range)), "UFFDIO_REGISTER");
	check(sys(ioctl(fd, UFFDIO_WRITEPROTECT, &mark)), "UFFDIO_WRITEPROTECT");
}

static bool is_marked(uint64_t page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	check(pread(fd, &entry, sizeof(entry), ((uintptr_t)hva / PAGE + page) * sizeof(entry)) ==
	      sizeof(entry) ? 0 : EIO, "pagemap");
	close(fd);
	return entry & PAGEMAP_IS_MARKED;
}

static void marks(void)
{
	make_vm(GMEM_IN_PLACE);
	make_code_page();
	memset(hva, 's', PAGES * PAGE);
	mark_all();
	hva[PAGE] = 'h';
	result(is_marked(0) && !is_marked(1), "dirty_log.host_writes_are_tracked_by_userfaultfd");
	result(run(writes_p, sizeof(writes_p), false) == KVM_EXIT_HLT && is_marked(0) &&
	       look(hva) == 'p' && is_marked(0), "dirty_log.guest_writes_are_not_seen_by_it");
}

/* ---- Live update with two backings ------------------------------------------------- */

/* mov al, es:[0]; out BELL, al */
static const uint8_t shows_byte[] = { 0x26, 0xa0, 0, 0, 0xe6, BELL, HLT };

/* As the VMM saves them: one bit for each page. */
static uint64_t save_states(struct gmem *memory)
{
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	uint64_t states = 0, at, page;

	for (at = 0; at < PAGES * PAGE; at += range.size) {
		check(gmem_lookup(memory, at, &range), "gmem_lookup");
		for (page = at / PAGE; page < (at + range.size) / PAGE; page++)
			states |= (range.attributes == GMEM_PRIVATE) << page;
	}
	return states;
}

static void live_update_in_two_backings(void)
{
	struct gmem_adopt_opts opts = GMEM_INIT(struct gmem_adopt_opts);
	int private_fd, shared_fd;
	uint64_t states;
	void *again;
	bool wrote;

	make_vm(GMEM_TWO_BACKINGS);
	make_code_page();
	memset(hva, 's', PAGES * PAGE);
	check(convert(0, 1, GMEM_PRIVATE), "to private");
	check(convert(5, 3, GMEM_PRIVATE), "to private");
	wrote = run(writes_p, sizeof(writes_p), false) == KVM_EXIT_HLT;
	private_fd = fcntl(gmem_private_fd(ram), F_DUPFD_CLOEXEC, 0);
	shared_fd = fcntl(gmem_shared_fd(ram), F_DUPFD_CLOEXEC, 0);
	states = save_states(ram);
	gmem_destroy(ram);

	opts.private_pages = &states;
	check(gmem_adopt(memories, PAGES * PAGE, private_fd, shared_fd, &opts, &ram), "gmem_adopt");
	check(gmem_bind(ram, SLOT, DATA_GPA, 0, PAGES * PAGE), "gmem_bind");
	check(gmem_map(ram, &again), "gmem_map");
	hva = again;
	result(wrote && states == 0xe1 && save_states(ram) == states && look(hva + PAGE) == 's' &&
	       run(shows_byte, sizeof(shows_byte), false) == KVM_EXIT_IO &&
	       *((char *)vm.run + vm.run->io.data_offset) == 'p',
	       "live_update.two_backings.saved_states_are_adopted");
}

int main(void)
{
	static const struct {
		int nr;
		void (*run)(void);
	} parts[] = {
		{ 1, code_in_two_backings }, { 2, code_in_place }, { 2, operands },
		{ 1, operands_in_two_backings }, { 2, page_tables }, { 1, proc_mem_in_place },
		{ 1, proc_mem_in_two_backings }, { 2, other_processes }, { 1, signals },
		{ 2, marks }, { 1, live_update_in_two_backings },
	};
	size_t i;

	plan("readers", 16);
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (!plan_alone(parts[i].nr))
			continue;
		parts[i].run();
		end_alone();
	}

	return exit_status();
}
