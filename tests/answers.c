// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * In the machine: what libgmem(7) answers to the author of a VMM, tried.  gmem_host_test,
 * gmem_migration_test and gmem_userfaultfd_test have dumps, NUMA and marks in place, by the
 * kernel's calls alone.  TAP.
 */
#include <linux/falloc.h>
#include <linux/mempolicy.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "../examples/vm.h"
#include "holders.h"
#include "kvm_abi.h"
#include "system_calls.h"
#include "tap.h"

#define PAGES	16ul
#define SLOT	1
#define NODE	1

static struct vm vm;
static struct gmem_vm *memories;
static struct gmem *ram;
static char *hva;

/* ---- A VM, and what a process may do with its memory ------------------------- */

static void make_vm(enum gmem_mechanism mechanism, uint64_t size)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	void *mem;

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	opts.mechanism = mechanism;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, size, NULL, &ram), "gmem_create");
	check(gmem_map(ram, NULL, &mem), "gmem_map");
	hva = mem;
}

static int to_private(uint64_t page, uint64_t nr)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	if (gmem_vm_probe(memories)->to_private & GMEM_POLICY_BIT(GMEM_PRESERVE))
		opts.to_private = GMEM_PRESERVE;
	return gmem_convert(ram, page * PAGE, nr * PAGE, GMEM_PRIVATE, &opts, NULL);
}

/* Pages 0 to 7 are shared and read 's', the others private and held 'p'. */
static void make_half_private(void)
{
	memset(hva, 's', PAGES / 2 * PAGE);
	memset(hva + PAGES / 2 * PAGE, 'p', PAGES / 2 * PAGE);
	check(to_private(PAGES / 2, PAGES / 2), "to private");
}

/* The calls themselves, which the library would not make in such a process. */
static int convert(int fd)
{
	struct kvm_memory_attributes2 attrs = { .size = PAGE, .attributes = GMEM_PRIVATE };

	return sys(ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs));
}

static int punch(int fd, uint64_t page)
{
	return sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * PAGE, PAGE));
}

static sigjmp_buf after_signal;
static void *signal_address;

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)context;
	signal_address = info->si_addr;
	siglongjmp(after_signal, number);
}

/* The byte at @at, or the signal that reading it raises, negative. */
static int look(const volatile char *at)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	int number;

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	number = sigsetjmp(after_signal, 1);
	return number ? -number : *at;
}

/* Does @is_right hold in a child? */
static bool in_child(bool (*is_right)(void))
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child)
		_exit(is_right() ? 0 : 1);
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* ---- fork, execve, another process ------------------------------------------- */

static bool is_refused(void)
{
	return convert(gmem_private_fd(ram)) == -EIO &&
	       sys(ioctl(vm.fd, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY)) == -EIO;
}

static bool has_shared_pages(void)
{
	const char *private = hva + PAGES / 2 * PAGE;

	return look(hva) == 's' && look(private - 1) == 's' && look(private) == -SIGBUS &&
	       signal_address == private;
}

static bool has_no_mapping(void)
{
	return look(hva) == -SIGSEGV;
}

static bool uses_the_file(void)
{
	int fd = gmem_shared_fd(ram);
	char *mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct kvm_memory_attributes2 attrs = { .offset = PAGES / 2 * PAGE, .size = PAGE };

	return mem != MAP_FAILED && look(mem + PAGE) == 's' &&
	       look(mem + PAGES / 2 * PAGE) == -SIGBUS && signal_address == mem + PAGES / 2 * PAGE &&
	       !ioctl(fd, KVM_GET_MEMORY_ATTRIBUTES2, &attrs) && attrs.attributes == GMEM_PRIVATE;
}

static bool punches_what_is_shared(void)
{
	int fd = gmem_shared_fd(ram);

	return !punch(fd, 2) && look(hva + 2 * PAGE) == 0 && punch(fd, PAGES - 1) == -EPERM;
}

/* After execve(): the descriptors that were kept, and one that was not. */
static int after_exec(char **argv)
{
	int vm_fd = atoi(argv[2]), file = atoi(argv[3]), closed = atoi(argv[4]);

	return sys(ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY)) == -EIO &&
	       convert(file) == -EIO && fcntl(closed, F_GETFD) < 0 && errno == EBADF ? 0 : 1;
}

/* In the process that created the VM. */
static bool exec_loses_the_vm(void)
{
	char vm_fd[16], file[16], closed[16];

	make_vm(GMEM_IN_PLACE, PAGES * PAGE);
	snprintf(vm_fd, sizeof(vm_fd), "%d", fcntl(vm.fd, F_DUPFD, 100));
	snprintf(file, sizeof(file), "%d", fcntl(gmem_private_fd(ram), F_DUPFD, 100));
	snprintf(closed, sizeof(closed), "%d", gmem_private_fd(ram));
	execl("/proc/self/exe", "answers", "after-exec", vm_fd, file, closed, NULL);
	return false;
}

static void processes(void)
{
	make_half_private();
	result(in_child(is_refused), "fork.calls_of_the_vm_and_conversions_are_eio");
	result(in_child(has_shared_pages), "fork.child_reads_shared_pages_and_gets_sigbus_at_private_ones");
	result(in_child(exec_loses_the_vm), "exec.kept_descriptors_are_eio_and_the_librarys_are_closed");
	result(in_child(uses_the_file), "back_end.maps_shared_pages_and_sees_the_states");
	result(in_child(punches_what_is_shared), "back_end.punches_out_shared_pages_only");
	check(sys(madvise(hva, PAGES * PAGE, MADV_DONTFORK)), "MADV_DONTFORK");
	result(in_child(has_no_mapping), "fork.dontfork_keeps_the_mapping_from_the_child");
	check(sys(madvise(hva, PAGES * PAGE, MADV_DOFORK)), "MADV_DOFORK");
}

/* ---- Slots and files --------------------------------------------------------- */

static int bind_with(uint32_t slot_flags)
{
	struct gmem_bind_opts opts = GMEM_INIT(struct gmem_bind_opts);

	opts.slot_flags = slot_flags;
	return gmem_bind(ram, SLOT, DATA_GPA, 0, PAGES * PAGE, &opts);
}

static void slots(void)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = SLOT, .flags = KVM_MEM_GUEST_MEMFD, .guest_phys_addr = DATA_GPA,
		.memory_size = PAGES * PAGE, .userspace_addr = (uintptr_t)hva,
		.guest_memfd = gmem_private_fd(ram),
	};
	int other = ioctl(vm.kvm, KVM_CREATE_VM, VM_TYPE);

	result(bind_with(KVM_MEM_LOG_DIRTY_PAGES) == -EINVAL, "dirty_log.slot_cannot_have_it");
	result(bind_with(KVM_MEM_READONLY) == -EINVAL, "slot.cannot_be_read_only");
	check(bind_with(0), "gmem_bind");
	region.flags |= KVM_MEM_LOG_DIRTY_PAGES;
	result(sys(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION2, &region)) == -EINVAL,
	       "dirty_log.cannot_be_switched_on_later");
	region.flags = KVM_MEM_GUEST_MEMFD;
	check(sys(other), "another VM");
	result(sys(ioctl(other, KVM_SET_USER_MEMORY_REGION2, &region)) == -EINVAL,
	       "live_update.file_cannot_be_bound_to_another_vm");
	close(other);
}

static void live_update(void)
{
	struct gmem_adopt_opts opts = GMEM_INIT(struct gmem_adopt_opts);
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	int fd = fcntl(gmem_private_fd(ram), F_DUPFD_CLOEXEC, 0);
	struct gmem *again;

	check(gmem_unbind(memories, DATA_GPA, NULL), "gmem_unbind");
	gmem_destroy(ram);
	opts.flags = GMEM_ASK_KERNEL;
	check(gmem_adopt(memories, PAGES * PAGE, fd, -1, &opts, &again), "gmem_adopt");
	check(gmem_lookup(again, 0, &range), "gmem_lookup");
	result(range.size == PAGES / 2 * PAGE && range.attributes == GMEM_SHARED &&
	       !gmem_verify(again, NULL) &&
	       !gmem_convert(again, 0, PAGES * PAGE, GMEM_SHARED, NULL, NULL),
	       "live_update.states_are_the_files");
	gmem_destroy(again);
	close(fd);
}

/* ---- Balloon and virtio-mem -------------------------------------------------- */

/* How many pages the page cache has of what is mapped. */
static unsigned int resident(void)
{
	unsigned char pages[PAGES];
	unsigned int i, nr = 0;

	check(sys(mincore(hva, PAGES * PAGE, pages)), "mincore");
	for (i = 0; i < PAGES; i++)
		nr += pages[i] & 1;
	return nr;
}

static void balloon(enum gmem_mechanism mechanism)
{
	const char *name = mechanism == GMEM_IN_PLACE ? "in_place" : "two_backings";
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	bool is_right;

	make_vm(mechanism, PAGES * PAGE);
	check(bind_with(0), "gmem_bind");
	memset(hva, 'b', PAGES * PAGE);
	is_right = !gmem_convert_gpa(memories, DATA_GPA, 4 * PAGE, GMEM_PRIVATE, NULL, NULL) &&
		   !sys(fallocate(gmem_private_fd(ram), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  0, 4 * PAGE));
	is_right = is_right && resident() == PAGES - 4;
	check(gmem_lookup(ram, 0, &range), "gmem_lookup");
	result(is_right && range.size == 4 * PAGE && range.attributes == GMEM_PRIVATE,
	       "balloon.%s.pages_are_given_back_and_stay_private", name);
	result(!gmem_convert_gpa(memories, DATA_GPA, 4 * PAGE, GMEM_SHARED, NULL, NULL) &&
	       look(hva) == 0 && look(hva + 4 * PAGE) == 'b', "balloon.%s.they_read_zeros", name);
	is_right = !gmem_unbind(memories, DATA_GPA, NULL) && !punch(gmem_shared_fd(ram), 8) &&
		   look(hva + 8 * PAGE) == 0;
	result(is_right, "virtio_mem.%s.what_is_unbound_is_punched_while_shared", name);
	gmem_destroy(ram);
	gmem_vm_exit(memories);
}

/* ---- Code in private memory -------------------------------------------------- */

/* mov al, es:[0], which is MMIO; the same by a string instruction; and what needs no emulator. */
static const uint8_t does_mmio[] = { 0x26, 0xa0, 0, 0, 0xf4 };
static const uint8_t does_string_io[] = { 0xba, BELL, 0, 0x6e, 0xf4 };
static const uint8_t does_io[] = { 0xe6, BELL, 0xf4 };

/* Run @code at the beginning of the memory, and return how that ends. */
static uint32_t run(const uint8_t *code, size_t size, uint64_t attributes)
{
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;

	/* What the last exit left to be done would move rip. */
	vm.run->immediate_exit = 1;
	ioctl(vm.vcpu, KVM_RUN, 0);
	vm.run->immediate_exit = 0;
	check(gmem_convert(ram, 0, PAGES * PAGE, GMEM_SHARED, NULL, NULL), "to shared");
	memcpy(hva, code, size);
	if (attributes == GMEM_PRIVATE)
		check(to_private(0, PAGES), "to private");
	check(sys(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs)), "KVM_GET_SREGS");
	sregs.cs.base = DATA_GPA;
	sregs.cs.selector = DATA_GPA >> 4;
	sregs.ds.base = DATA_GPA;
	sregs.ds.selector = DATA_GPA >> 4;
	sregs.es.base = DEVICE_GPA;
	sregs.es.selector = DEVICE_GPA >> 4;
	check(sys(ioctl(vm.vcpu, KVM_SET_SREGS, &sregs)), "KVM_SET_SREGS");
	check(sys(ioctl(vm.vcpu, KVM_SET_REGS, &regs)), "KVM_SET_REGS");
	check(sys(ioctl(vm.vcpu, KVM_RUN, 0)), "KVM_RUN");
	printf("# exit %u\n", vm.run->exit_reason);
	return vm.run->exit_reason;
}

#define RUN(code, attributes) run(code, sizeof(code), attributes)

static bool cannot_emulate(uint32_t exit_reason)
{
	return exit_reason == KVM_EXIT_INTERNAL_ERROR &&
	       vm.run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION;
}

static void emulator(void)
{
	make_vm(GMEM_IN_PLACE, PAGES * PAGE);
	check(bind_with(0), "gmem_bind");
	result(RUN(does_io, GMEM_PRIVATE) == KVM_EXIT_IO, "emulator.private_code_does_simple_io");
	result(RUN(does_mmio, GMEM_SHARED) == KVM_EXIT_MMIO && vm.run->mmio.phys_addr == DEVICE_GPA,
	       "emulator.shared_code_does_mmio");
	result(cannot_emulate(RUN(does_mmio, GMEM_PRIVATE)),
	       "emulator.mmio_of_private_code_is_an_internal_error");
	result(RUN(does_string_io, GMEM_SHARED) == KVM_EXIT_IO, "emulator.shared_code_does_string_io");
	result(cannot_emulate(RUN(does_string_io, GMEM_PRIVATE)),
	       "emulator.string_io_of_private_code_is_an_internal_error");
}

/* ---- Core dumps and NUMA with two backings ----------------------------------- */

#define CORE		"/tmp/answers.core"
#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"

static void write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY);

	check(fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0, name);
	close(fd);
}

/* How many pages full of @byte a process that dies now leaves in its core, -1 without one. */
static int dumped(const char *filter, int advice, char byte)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	char page[PAGE], whole[PAGE];
	int fd, nr = 0;
	pid_t child;

	unlink(CORE);
	fflush(stdout);
	child = fork();
	if (!child) {
		setrlimit(RLIMIT_CORE, &unlimited);
		write_file("/proc/self/coredump_filter", filter);
		madvise(hva, PAGES * PAGE, advice);
		kill(getpid(), SIGQUIT);
		_exit(1);
	}
	waitpid(child, NULL, 0);
	fd = open(CORE, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	memset(whole, byte, PAGE);
	while (read(fd, page, PAGE) == PAGE)
		nr += !memcmp(page, whole, PAGE);
	close(fd);
	unlink(CORE);
	return nr;
}

static void core_dumps(void)
{
	const int half = PAGES / 2;

	write_file(CORE_PATTERN, CORE);
	make_vm(GMEM_IN_PLACE, PAGES * PAGE);
	make_half_private();
	result(dumped("0x33", MADV_DODUMP, 's') == 0 && dumped("0x3b", MADV_DODUMP, 's') == half &&
	       dumped("0x3b", MADV_DODUMP, 'p') == 0, "core.in_place.shared_pages_are_dumped_by_bit_3");
	result(dumped("0x3b", MADV_DONTDUMP, 's') == 0, "core.in_place.dontdump_keeps_them_out");
	gmem_destroy(ram);
	gmem_vm_exit(memories);
	make_vm(GMEM_TWO_BACKINGS, PAGES * PAGE);
	make_half_private();
	result(dumped("0x33", MADV_DODUMP, 's') == half && dumped("0x33", MADV_DODUMP, 'p') == 0 &&
	       dumped("0x31", MADV_DODUMP, 's') == 0, "core.two_backings.shared_half_is_dumped_by_bit_1");
	result(dumped("0x33", MADV_DONTDUMP, 's') == 0, "core.two_backings.dontdump_keeps_it_out");
}

static int node_of(void *page)
{
	int node = -1;

	check(sys(syscall(SYS_get_mempolicy, &node, NULL, 0, page, MPOL_F_NODE | MPOL_F_ADDR)),
	      "get_mempolicy");
	return node;
}

static long free_kib(int node)
{
	char name[64], line[128];
	long kib = -1;
	FILE *f;

	snprintf(name, sizeof(name), "/sys/devices/system/node/node%d/meminfo", node);
	f = fopen(name, "r");
	check(f ? 0 : -errno, name);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "Node %*d MemFree: %ld", &kib);
	fclose(f);
	return kib;
}

static void numa(void)
{
	const unsigned long nodes = 1ul << NODE;
	const long mib = 64;
	long before;
	bool is_right;

	make_vm(GMEM_IN_PLACE, PAGES * PAGE);
	check(sys(syscall(SYS_mbind, hva, PAGES * PAGE, MPOL_BIND, &nodes, 64, 0)), "mbind");
	memset(hva, 'n', PAGES * PAGE);
	is_right = node_of(hva) == NODE;
	check(to_private(0, PAGES), "to private");
	check(gmem_convert(ram, 0, PAGES * PAGE, GMEM_SHARED, NULL, NULL), "to shared");
	result(is_right && look(hva) == 0 && node_of(hva) == NODE,
	       "numa.in_place.mbind_on_the_mapping_decides");

	make_vm(GMEM_TWO_BACKINGS, mib << 20);
	check(sys(syscall(SYS_mbind, hva, mib << 20, MPOL_BIND, &nodes, 64, 0)), "mbind");
	hva[0] = 'n';
	result(node_of(hva) == NODE, "numa.two_backings.mbind_is_for_the_shared_half");
	check(sys(syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 64)), "set_mempolicy");
	before = free_kib(NODE);
	check(sys(fallocate(gmem_private_fd(ram), FALLOC_FL_KEEP_SIZE, 0, mib << 20)), "fallocate");
	printf("# node %d: %ld MiB less\n", NODE, (before - free_kib(NODE)) >> 10);
	result(before - free_kib(NODE) > mib * 3 / 4 << 10,
	       "numa.two_backings.private_half_is_where_the_thread_allocates");
}

/* ---- seccomp ----------------------------------------------------------------- */

static enum gmem_mechanism mechanism_of_calls;

static void runs(void)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	int i, ends[2];

	make_vm(mechanism_of_calls, PAGES * PAGE);
	check(bind_with(0), "gmem_bind");
	hva[PAGE] = 'h';
	hold_in_pipe(hva + PAGE, ends);
	opts.timeout_ms = 100;

	begin_calls();
	gmem_convert(ram, 0, 2 * PAGE, GMEM_PRIVATE, &opts, NULL);
	for (i = 0; i < 4; i++) {
		gmem_convert_gpa(memories, DATA_GPA + 2 * PAGE, 4 * PAGE,
				 i % 2 ? GMEM_SHARED : GMEM_PRIVATE, NULL, NULL);
		gmem_lookup(ram, 0, &range);
	}
	gmem_verify(ram, NULL);
	gmem_rebuild(ram);
	end_calls();
}

static void makes(void)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem_adopt_opts adopt = GMEM_INIT(struct gmem_adopt_opts);
	bool in_place = mechanism_of_calls == GMEM_IN_PLACE;
	struct kvm_create_guest_memfd create = {
		.size = PAGES * PAGE, .flags = in_place ? GUEST_MEMFD_FLAG_MMAP : 0,
	};
	int fd, shared = memfd_create("shared", MFD_CLOEXEC);
	struct gmem *adopted;
	void *mem;

	vm_create(&vm, VM_TYPE);
	fd = ioctl(vm.fd, KVM_CREATE_GUEST_MEMFD, &create);
	check(sys(fd), "KVM_CREATE_GUEST_MEMFD");
	check(sys(ftruncate(shared, PAGES * PAGE)), "ftruncate");
	opts.vm_type = VM_TYPE;
	opts.mechanism = mechanism_of_calls;

	begin_calls();
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, PAGES * PAGE, NULL, &ram), "gmem_create");
	check(gmem_map(ram, NULL, &mem), "gmem_map");
	check(gmem_bind(ram, SLOT, DATA_GPA, 0, PAGES * PAGE, NULL), "gmem_bind");
	check(gmem_adopt(memories, PAGES * PAGE, fd, in_place ? -1 : shared, &adopt, &adopted),
	      "gmem_adopt");
	check(gmem_unbind(memories, DATA_GPA, NULL), "gmem_unbind");
	gmem_destroy(adopted);
	gmem_destroy(ram);
	gmem_vm_exit(memories);
	end_calls();
}

/* As libgmem(7) lists them. */
static const struct system_call running[] = {
	{ SYS_ioctl, KVM_SET_MEMORY_ATTRIBUTES2 }, { SYS_ioctl, KVM_SET_MEMORY_ATTRIBUTES },
	{ SYS_ioctl, KVM_GET_MEMORY_ATTRIBUTES2 }, { SYS_fallocate, 0 }, { SYS_madvise, 0 },
	{ SYS_futex, 0 }, { SYS_clock_gettime, 0 }, {},
};

static const struct system_call making[] = {
	{ SYS_ioctl, KVM_SET_MEMORY_ATTRIBUTES2 }, { SYS_ioctl, KVM_SET_MEMORY_ATTRIBUTES },
	{ SYS_ioctl, KVM_GET_MEMORY_ATTRIBUTES2 }, { SYS_ioctl, KVM_CREATE_GUEST_MEMFD },
	{ SYS_ioctl, KVM_SET_USER_MEMORY_REGION2 }, { SYS_ioctl, KVM_CHECK_EXTENSION },
	{ SYS_ioctl, KVM_GET_API_VERSION }, { SYS_fallocate, 0 }, { SYS_madvise, 0 },
	{ SYS_futex, 0 }, { SYS_clock_gettime, 0 }, { SYS_mmap, 0 }, { SYS_munmap, 0 },
	{ SYS_close, 0 }, { SYS_fcntl, 0 }, { SYS_fstat, 0 }, { SYS_newfstatat, 0 },
	{ SYS_memfd_create, 0 }, { SYS_ftruncate, 0 }, { SYS_brk, 0 }, {},
};

static void seccomp(void)
{
	mechanism_of_calls = GMEM_IN_PLACE;
	result(only_calls(runs, running), "seccomp.in_place.conversions_need_what_is_listed");
	result(only_calls(makes, making), "seccomp.in_place.making_needs_what_is_listed");
	mechanism_of_calls = GMEM_TWO_BACKINGS;
	result(only_calls(runs, running), "seccomp.two_backings.conversions_need_what_is_listed");
	result(only_calls(makes, making), "seccomp.two_backings.making_needs_what_is_listed");
}

int main(int argc, char **argv)
{
	static const struct {
		int nr;
		void (*run)(void);
	} parts[] = {
		{ 5, emulator }, { 4, core_dumps }, { 3, numa }, { 4, seccomp },
	};
	size_t i;

	if (argc == 5 && !strcmp(argv[1], "after-exec"))
		return after_exec(argv);

	plan("answers", 33);
	make_vm(GMEM_IN_PLACE, PAGES * PAGE);
	processes();
	slots();
	live_update();
	gmem_vm_exit(memories);
	balloon(GMEM_IN_PLACE);
	balloon(GMEM_TWO_BACKINGS);
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (!plan_alone(parts[i].nr))
			continue;
		parts[i].run();
		end_alone();
	}

	return exit_status();
}
