// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * gmem check: does this kernel keep what in-place conversion promises, through libgmem
 * and a real guest?  TAP; each promise by name, once for each mechanism that is there.
 * What a mechanism does not promise is skipped, and the reason is said.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/kvm_gmem.h>

#include "check.h"
#include "guest.h"
#include "output.h"

#define CASE_SECONDS	30

struct vm vm;
struct gmem *gmem;
uint8_t *mem;
const struct gmem_probe *probe;

void wrong(const char *file, int line, const char *what, long long seen, long long promised)
{
	printf("# %s:%d: %s is %lld, promised %lld\n", file, line, what, seen, promised);
	fflush(stdout);
	_exit(EXIT_WRONG);
}

static bool offers(uint64_t attributes, enum gmem_policy policy)
{
	return (attributes & GMEM_PRIVATE ? probe->to_private : probe->to_shared) &
	       GMEM_POLICY_BIT(policy);
}

void expect_attributes(uint64_t offset, uint64_t size, uint64_t attributes)
{
	struct gmem_range range;

	for (; size; size -= range.size, offset += range.size) {
		EXPECT(gmem_lookup(gmem, offset, &range), 0);
		EXPECT(range.attributes, attributes);
		if (range.size > size)
			range.size = size;
	}
}

/* How many pages of a mapping the page cache has. */
static unsigned int resident(void)
{
	unsigned char pages[PAGES];
	unsigned int i, nr = 0;

	if (mincore(mem, SIZE, pages))
		die("mincore");
	for (i = 0; i < PAGES; i++)
		nr += pages[i] & 1;
	return nr;
}

/* Where a page is in the machine's memory, or 0 without the right to know. */
static uint64_t page_frame(const uint8_t *page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	(void)*(const volatile uint8_t *)page;
	if (fd < 0 || pread(fd, &entry, sizeof(entry), (uintptr_t)page / PAGE * sizeof(entry)) < 0)
		entry = 0;
	close(fd);
	return entry & ((1ull << 55) - 1);
}

/* ---- The cases ------------------------------------------------------------ */

static void offered_policies_work_and_others_are_refused(void)
{
	uint64_t attributes;
	int policy;

	for (policy = GMEM_ZERO; policy <= GMEM_NONE; policy++) {
		for (attributes = GMEM_SHARED; attributes <= GMEM_PRIVATE; attributes += GMEM_PRIVATE) {
			/* From the other state. */
			EXPECT(convert(gmem, 0, PAGE, attributes ^ GMEM_PRIVATE, GMEM_NONE, NULL), 0);
			EXPECT(convert(gmem, 0, PAGE, attributes, policy, NULL),
			       offers(attributes, policy) ? 0 : -EOPNOTSUPP);
		}
	}
	EXPECT(convert(gmem, 0, PAGE, GMEM_PRIVATE, 3, NULL), -EINVAL);
}

static void descriptors_are_close_on_exec(void)
{
	EXPECT(fcntl(gmem_private_fd(gmem), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	EXPECT(fcntl(gmem_shared_fd(gmem), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void new_memory_reads_zeros(void)
{
	EXPECT(host_read(mem), 0);
	guest_agree(&vm, 1, 1);
	EXPECT(guest_read(&vm, 1), 0);
}

static void new_private_memory_reads_zeros(void)
{
	gmem_destroy(gmem);
	gmem = vm_memory(&vm, SIZE, GMEM_PRIVATE, VM_DATA_SLOT, VM_DATA, &mem);
	expect_attributes(0, SIZE, GMEM_PRIVATE);
	EXPECT(guest_read(&vm, 2), 0);
}

static void shared_pages_are_seen_live_by_both(void)
{
	guest_agree(&vm, 1, 1);
	memset(mem + PAGE, 'h', PAGE);
	EXPECT(guest_read(&vm, 1), 'h');
	guest_write(&vm, 1, 'g');
	EXPECT(host_read(mem + PAGE), 'g');
}

static void private_pages_belong_to_the_guest(void)
{
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	guest_write(&vm, 3, 'p');
	EXPECT(guest_read(&vm, 3), 'p');
	expect_attributes(0, SIZE, GMEM_PRIVATE);
}

static void host_touch_of_private_is_sigbus(void)
{
	uint8_t *other = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, gmem_shared_fd(gmem), 0);
	int status;
	pid_t pid;

	EXPECT(other != MAP_FAILED, true);
	memset(mem, 'a', SIZE);
	EXPECT(host_read(other), 'a');
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(try_host_read(mem), SIGBUS_READ);
	EXPECT(try_host_read(mem + SIZE - PAGE), SIGBUS_READ);
	EXPECT(try_host_read(other), SIGBUS_READ);

	pid = fork();
	if (!pid)
		_exit(try_host_read(other + PAGE) == SIGBUS_READ ? 0 : 1);
	waitpid(pid, &status, 0);
	EXPECT(status, 0);

	/* The same mappings, once it is shared again. */
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(host_read(other), 0);
	EXPECT(host_read(mem + SIZE - PAGE), 0);
}

static void kernel_does_not_read_private_for_the_host(void)
{
	int pipefd[2];

	if (pipe(pipefd))
		die("pipe");
	EXPECT(convert(gmem, 0, PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(write(pipefd[1], mem, 16), -1);
	EXPECT(errno, EFAULT);
}

static void zero_to_shared_reads_zeros(void)
{
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	guest_write(&vm, 4, 's');
	guest_agree(&vm, 4, 1);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(host_read(mem + 4 * PAGE), 0);
	EXPECT(guest_read(&vm, 4), 0);
	EXPECT(host_read(mem + 5 * PAGE), 0);
}

static void zero_to_shared_hides_what_the_host_left(void)
{
	memset(mem + 4 * PAGE, 'o', PAGE);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(host_read(mem + 4 * PAGE), 0);
}

static void zero_to_private_reads_zeros(void)
{
	memset(mem, 'z', SIZE);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_ZERO, NULL), 0);
	EXPECT(guest_read(&vm, 0), 0);
	EXPECT(guest_read(&vm, PAGES - 1), 0);
}

static void preserve_keeps_bytes_both_ways(void)
{
	int page;

	for (page = 0; page < PAGES; page++)
		memset(mem + page * PAGE, 'A' + page, PAGE);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_PRESERVE, NULL), 0);
	for (page = PAGES; page-- > 0; )
		EXPECT(guest_read(&vm, page), 'A' + page);
	for (page = 0; page < PAGES; page++)
		guest_write(&vm, page, 'a' + page);
	guest_agree(&vm, 0, PAGES);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_PRESERVE, NULL), 0);
	for (page = PAGES; page-- > 0; )
		EXPECT(host_read(mem + page * PAGE), 'a' + page);
}

static void none_reads_what_this_vm_type_leaves(void)
{
	memset(mem, 'n', SIZE);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(guest_read(&vm, 2), guest_none_leaves('n'));
	guest_write(&vm, 2, 'm');
	guest_agree(&vm, 2, 1);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_NONE, NULL), 0);
	EXPECT(host_read(mem + 2 * PAGE), guest_none_leaves('m'));
}

static void repeated_conversion_keeps_bytes(void)
{
	memset(mem, 'r', SIZE);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(host_read(mem + 7 * PAGE), 'r');
	/* The middle changes, what is around it does not. */
	EXPECT(convert(gmem, 4 * PAGE, 2 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(host_read(mem + 3 * PAGE), 'r');
	EXPECT(host_read(mem + 4 * PAGE), 0);
	EXPECT(host_read(mem + 6 * PAGE), 'r');
}

static void conversion_moves_no_page(void)
{
	uint64_t before;

	memset(mem, 'k', SIZE);
	before = page_frame(mem + PAGE);
	EXPECT(before != 0, true);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_PRESERVE, NULL), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_PRESERVE, NULL), 0);
	EXPECT(resident(), PAGES);
	EXPECT(page_frame(mem + PAGE), before);
	EXPECT(host_read(mem + PAGE), 'k');
}

static void conversion_allocates_nothing(void)
{
	mem[0] = 1;
	EXPECT(convert(gmem, PAGE, SIZE - PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(convert(gmem, PAGE, SIZE - PAGE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(resident(), 1);
}

static void other_half_is_given_back(void)
{
	memset(mem, 'd', SIZE);
	EXPECT(resident(), PAGES);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(resident(), 0);
	guest_write(&vm, 1, 'd');
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_NONE, NULL), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	/* A page of the kernel's, and not the one that was written. */
	EXPECT(guest_read(&vm, 1), 0);
}

static void pinned_page_is_refused_at_its_offset(void)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int pipefd[2];

	memset(mem, 'q', SIZE);
	pin_in_pipe(mem + 3 * PAGE, pipefd);
	EXPECT(convert(gmem, 0, 8 * PAGE, GMEM_PRIVATE, GMEM_NONE, &result), -EAGAIN);
	EXPECT(result.where, 3 * PAGE);
	EXPECT(result.step, GMEM_STEP_CONVERT);
	EXPECT(result.left_size, 0);
	expect_attributes(0, SIZE, GMEM_SHARED);
	EXPECT(host_read(mem + 2 * PAGE), 'q');
	guest_agree(&vm, 4, 1);
	EXPECT(guest_read(&vm, 4), 'q');

	EXPECT(convert(gmem, 4 * PAGE, 4 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	unpin_pipe(pipefd);
	EXPECT(convert(gmem, 0, 8 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
}

static int let_go(void *arg, uint64_t where, unsigned int attempts)
{
	EXPECT(where, VM_DATA + 3 * PAGE);
	if (attempts == 2)
		unpin_pipe(arg);
	return 0;
}

static void holder_that_lets_go_is_waited_for(void)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int pipefd[2];

	pin_in_pipe(mem + 3 * PAGE, pipefd);
	opts.timeout_ms = 20000;
	opts.busy = let_go;
	opts.arg = pipefd;
	EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA, SIZE, GMEM_PRIVATE, &opts, &result), 0);
	EXPECT(result.attempts, 2);
}

static void pin_does_not_stop_going_to_shared(void)
{
	int pipefd[2];

	EXPECT(convert(gmem, 8 * PAGE, PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	pin_in_pipe(mem + 3 * PAGE, pipefd);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	unpin_pipe(pipefd);
}

static void request_spans_slots(void)
{
	struct gmem *second;
	uint8_t *other;

	/* Two slots of the first memory, turned around, and one of another. */
	gmem_destroy(gmem);
	gmem = vm_memory(&vm, SIZE, GMEM_SHARED, 0, GMEM_NO_GPA, &mem);
	second = vm_memory(&vm, SIZE, GMEM_SHARED, VM_DATA_SLOT, VM_DATA + 8 * PAGE, &other);
	EXPECT(gmem_bind(gmem, 2, VM_DATA, 4 * PAGE, 4 * PAGE), 0);
	EXPECT(gmem_bind(gmem, 3, VM_DATA + 4 * PAGE, 0, 4 * PAGE), 0);
	EXPECT(gmem_bind(gmem, 4, VM_DATA + 64 * PAGE, 4 * PAGE, PAGE), -EEXIST);

	EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA + 2 * PAGE, 8 * PAGE, GMEM_PRIVATE, NULL, NULL), 0);
	expect_attributes(0, 4 * PAGE, GMEM_PRIVATE);
	expect_attributes(4 * PAGE, 2 * PAGE, GMEM_SHARED);
	expect_attributes(6 * PAGE, 2 * PAGE, GMEM_PRIVATE);
	guest_write(&vm, 6, 'x');
	guest_agree(&vm, 0, 16);
	EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA, 16 * PAGE, GMEM_SHARED, NULL, NULL), 0);
	expect_attributes(0, SIZE, GMEM_SHARED);
	EXPECT(host_read(mem + 2 * PAGE), 0);
	guest_write(&vm, 6, 'y');
	EXPECT(host_read(mem + 2 * PAGE), 'y');
	guest_write(&vm, 9, 'z');
	EXPECT(host_read(other + PAGE), 'z');

	gmem_destroy(second);
}

static void failure_in_the_second_slot_changes_nothing(void)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	struct gmem *second;
	int pipefd[2];
	uint8_t *other;

	second = vm_memory(&vm, SIZE, GMEM_SHARED, 2, VM_DATA + SIZE, &other);
	memset(mem, 'f', SIZE);
	pin_in_pipe(other + PAGE, pipefd);
	EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA, 2 * SIZE, GMEM_PRIVATE, NULL, &result), -EAGAIN);
	EXPECT(result.where, VM_DATA + SIZE + PAGE);
	EXPECT(result.left_size, 0);
	expect_attributes(0, SIZE, GMEM_SHARED);
	if (probe->is_atomic || offers(GMEM_SHARED, GMEM_PRESERVE))
		EXPECT(host_read(mem), 'f');
	memset(mem, 'F', SIZE);
	guest_agree(&vm, 0, 1);
	EXPECT(guest_read(&vm, 0), 'F');
	unpin_pipe(pipefd);
	gmem_destroy(second);
}

static void hole_is_refused_where_it_is(void)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA, SIZE + PAGE, GMEM_PRIVATE, NULL, &result), -ENXIO);
	EXPECT(result.where, VM_DATA + SIZE);
	EXPECT(result.step, GMEM_STEP_CHECK);
	expect_attributes(0, SIZE, GMEM_SHARED);
}

static void device_memory_is_refused_where_it_is(void)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	EXPECT(gmem_exclude(vm.gmem, VM_DATA + SIZE, PAGE), 0);
	EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA, SIZE + PAGE, GMEM_PRIVATE, NULL, &result), -EPERM);
	EXPECT(result.where, VM_DATA + SIZE);
	expect_attributes(0, SIZE, GMEM_SHARED);
	EXPECT(gmem_unbind(vm.gmem, VM_DATA + SIZE), 0);
}

static void wrong_requests_are_refused(void)
{
	EXPECT(convert(gmem, 1, PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), -EINVAL);
	EXPECT(convert(gmem, 0, PAGE - 1, GMEM_PRIVATE, GMEM_NONE, NULL), -EINVAL);
	EXPECT(convert(gmem, 0, 0, GMEM_PRIVATE, GMEM_NONE, NULL), -EINVAL);
	EXPECT(convert(gmem, 0, SIZE + PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), -EINVAL);
	EXPECT(convert(gmem, -PAGE, 2 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), -EINVAL);
	EXPECT(convert(gmem, 0, PAGE, 1, GMEM_NONE, NULL), -EINVAL);
	expect_attributes(0, SIZE, GMEM_SHARED);
}

/* What the listener was told, as letters: P before private, S after shared. */
static char told[32];

static int tell_private(struct gmem_listener *listener, const struct gmem_range *range)
{
	(void)listener;
	EXPECT(range->attributes, GMEM_SHARED);
	EXPECT(range->gpa, VM_DATA + range->offset);
	/* The host still has it. */
	EXPECT(try_host_read(mem + range->offset) != SIGBUS_READ, true);
	strcat(told, "P");
	return 0;
}

static int tell_shared(struct gmem_listener *listener, const struct gmem_range *range)
{
	(void)listener;
	(void)range;
	/* The host has it already, and it reads what the policy says. */
	EXPECT(try_host_read(mem + range->offset) != SIGBUS_READ, true);
	strcat(told, "S");
	return 0;
}

static void listeners_are_told_in_order(void)
{
	struct gmem_listener listener = GMEM_INIT(struct gmem_listener);
	int pipefd[2];

	listener.before_private = tell_private;
	listener.after_shared = tell_shared;
	EXPECT(gmem_add_listener(vm.gmem, &listener), 0);

	/* Two ranges change, around one that is private already. */
	EXPECT(convert(gmem, 4 * PAGE, PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(strcmp(told, "PPP"), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(strcmp(told, "PPPS"), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(strcmp(told, "PPPS"), 0);

	if (probe->mechanism != GMEM_TWO_BACKINGS) {
		pin_in_pipe(mem, pipefd);
		EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), -EAGAIN);
		unpin_pipe(pipefd);
		EXPECT(strcmp(told, "PPPSPS"), 0);
	}
	EXPECT(gmem_remove_listener(vm.gmem, &listener), 0);
}

static void hypercall_converts_what_the_guest_asks(void)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	int pipefd[2];

	guest_agree(&vm, 0, 3);
	EXPECT(guest_ask(&vm, VM_DATA + PAGE, 2, true, &opts), 0);
	expect_attributes(0, PAGE, GMEM_SHARED);
	expect_attributes(PAGE, 2 * PAGE, GMEM_PRIVATE);
	guest_write(&vm, 1, 'c');
	EXPECT(guest_ask(&vm, VM_DATA + PAGE, 2, false, &opts), 0);
	expect_attributes(0, SIZE, GMEM_SHARED);
	EXPECT(host_read(mem + PAGE), 0);
	/* Where nothing is, a consent is an access. */
	if (!guest_arch.must_agree)
		EXPECT(guest_ask(&vm, 0x40000000, 1, true, &opts), -EINVAL);

	if (probe->mechanism != GMEM_TWO_BACKINGS) {
		pin_in_pipe(mem, pipefd);
		EXPECT(guest_ask(&vm, VM_DATA, 1, true, &opts), -EAGAIN);
		unpin_pipe(pipefd);
		EXPECT(guest_ask(&vm, VM_DATA, 1, true, &opts), 0);
	}
}

/* Page @page is the guest's, which has written @byte there. */
static void give_to_guest(unsigned int page, uint8_t byte)
{
	EXPECT(convert(gmem, page * PAGE, PAGE, GMEM_PRIVATE, GMEM_PRESERVE, NULL), 0);
	guest_write(&vm, page, byte);
}

static struct gmem_convert_opts keep_contents(void)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	opts.to_shared = GMEM_PRESERVE;
	opts.to_private = GMEM_PRESERVE;
	return opts;
}

static void page_that_the_guest_shares_keeps_bytes_both_ways(void)
{
	struct gmem_convert_opts keep = keep_contents();

	give_to_guest(5, 'g');
	EXPECT(try_host_read(mem + 5 * PAGE), SIGBUS_READ);
	EXPECT(guest_ask(&vm, VM_DATA + 5 * PAGE, 1, false, &keep), 0);
	expect_attributes(5 * PAGE, PAGE, GMEM_SHARED);
	EXPECT(host_read(mem + 5 * PAGE), 'g');
	memset(mem + 5 * PAGE, 'h', PAGE);
	EXPECT(guest_read(&vm, 5), 'h');
	EXPECT(guest_ask(&vm, VM_DATA + 5 * PAGE, 1, true, &keep), 0);
	expect_attributes(5 * PAGE, PAGE, GMEM_PRIVATE);
	EXPECT(try_host_read(mem + 5 * PAGE), SIGBUS_READ);
	EXPECT(guest_read(&vm, 5), 'h');
}

static void guest_that_touches_a_shared_page_asks_for_it(void)
{
	struct gmem_convert_opts keep = keep_contents();

	memset(mem + 6 * PAGE, 't', PAGE);
	EXPECT(guest_read_asking(&vm, 6, &keep), 't');
	expect_attributes(6 * PAGE, PAGE, GMEM_PRIVATE);
	expect_attributes(7 * PAGE, PAGE, GMEM_SHARED);
	EXPECT(try_host_read(mem + 6 * PAGE), SIGBUS_READ);
}

static void to_shared_without_consent_is_refused_where_it_is(void)
{
	static const enum gmem_policy policies[] = { GMEM_ZERO, GMEM_PRESERVE, GMEM_NONE };
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	size_t i;

	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_PRESERVE, NULL), 0);
	guest_write(&vm, 9, 'c');
	guest_write(&vm, 11, 'd');
	opts.timeout_ms = 1000;
	for (i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (!offers(GMEM_SHARED, policies[i]))
			continue;
		opts.to_shared = policies[i];
		EXPECT(gmem_convert(gmem, 4 * PAGE, SIZE - 4 * PAGE, GMEM_SHARED, &opts, &result), -EPERM);
		EXPECT(result.where, 9 * PAGE);
		EXPECT(result.step, GMEM_STEP_CONVERT);
		EXPECT(result.left_size, 0);
		/* To wait does not help. */
		EXPECT(result.attempts, 0);
		EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA, SIZE, GMEM_SHARED, &opts, &result), -EPERM);
		EXPECT(result.where, VM_DATA + 9 * PAGE);
	}
	expect_attributes(0, SIZE, GMEM_PRIVATE);
	EXPECT(try_host_read(mem + 4 * PAGE), SIGBUS_READ);
	EXPECT(try_host_read(mem + 9 * PAGE), SIGBUS_READ);
	EXPECT(guest_read(&vm, 9), 'c');
	EXPECT(guest_read(&vm, 11), 'd');
}

static void consent_is_for_one_page(void)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_PRESERVE, NULL), 0);
	guest_write(&vm, 2, '2');
	guest_write(&vm, 3, '3');
	guest_agree(&vm, 2, 1);
	EXPECT(convert(gmem, 2 * PAGE, 2 * PAGE, GMEM_SHARED, GMEM_PRESERVE, &result), -EPERM);
	EXPECT(result.where, 3 * PAGE);
	expect_attributes(2 * PAGE, 2 * PAGE, GMEM_PRIVATE);
	EXPECT(try_host_read(mem + 2 * PAGE), SIGBUS_READ);
	EXPECT(convert(gmem, 2 * PAGE, PAGE, GMEM_SHARED, GMEM_PRESERVE, NULL), 0);
	EXPECT(host_read(mem + 2 * PAGE), '2');
	EXPECT(guest_read(&vm, 3), '3');
}

static void consent_is_taken_back_by_unsharing(void)
{
	struct gmem_convert_opts keep = keep_contents();

	give_to_guest(1, 'u');
	EXPECT(guest_ask(&vm, VM_DATA + PAGE, 1, false, &keep), 0);
	EXPECT(guest_ask(&vm, VM_DATA + PAGE, 1, true, &keep), 0);
	EXPECT(convert(gmem, PAGE, PAGE, GMEM_SHARED, GMEM_PRESERVE, NULL), -EPERM);
	EXPECT(guest_read(&vm, 1), 'u');
}

static void unsharing_waits_while_the_host_holds_the_page(void)
{
	struct gmem_convert_opts keep = keep_contents();
	int pipefd[2];

	give_to_guest(8, 'w');
	EXPECT(guest_ask(&vm, VM_DATA + 8 * PAGE, 1, false, &keep), 0);
	pin_in_pipe(mem + 8 * PAGE, pipefd);
	EXPECT(guest_ask(&vm, VM_DATA + 8 * PAGE, 1, true, &keep), -EAGAIN);
	expect_attributes(8 * PAGE, PAGE, GMEM_SHARED);
	EXPECT(host_read(mem + 8 * PAGE), 'w');
	unpin_pipe(pipefd);
	EXPECT(guest_ask(&vm, VM_DATA + 8 * PAGE, 1, true, &keep), 0);
	expect_attributes(8 * PAGE, PAGE, GMEM_PRIVATE);
	EXPECT(try_host_read(mem + 8 * PAGE), SIGBUS_READ);
	EXPECT(guest_read(&vm, 8), 'w');
}

static int refuse(struct gmem_listener *listener, const struct gmem_range *range)
{
	(void)range;
	++*(int *)listener->arg;
	return -EBUSY;
}

static int accept_all(struct gmem_listener *listener, const struct gmem_range *range)
{
	(void)listener;
	(void)range;
	return 0;
}

static void request_that_is_not_granted_comes_again(void)
{
	struct gmem_listener listener = GMEM_INIT(struct gmem_listener);
	struct gmem_convert_opts keep = keep_contents();
	int nr_asked = 0, i;

	give_to_guest(4, 'n');
	listener.before_private = accept_all;
	listener.after_shared = refuse;
	listener.arg = &nr_asked;
	EXPECT(gmem_add_listener(vm.gmem, &listener), 0);
	for (i = 0; i < 3; i++)
		EXPECT(guest_ask(&vm, VM_DATA + 4 * PAGE, 1, false, &keep), -EBUSY);
	EXPECT(nr_asked, 3);
	expect_attributes(4 * PAGE, PAGE, GMEM_PRIVATE);
	EXPECT(try_host_read(mem + 4 * PAGE), SIGBUS_READ);
	EXPECT(gmem_remove_listener(vm.gmem, &listener), 0);
	EXPECT(guest_ask(&vm, VM_DATA + 4 * PAGE, 1, false, &keep), 0);
	EXPECT(host_read(mem + 4 * PAGE), 'n');
}

static void default_options_serve_the_guest(void)
{
	struct gmem_convert_opts defaults = GMEM_CONVERT_OPTS;

	/* Faulted in from shared, shared, and taken back. */
	memset(mem + 3 * PAGE, 'o', PAGE);
	EXPECT(guest_ask(&vm, VM_DATA + 3 * PAGE, 1, false, &defaults), 0);
	EXPECT(host_read(mem + 3 * PAGE), 0);
	EXPECT(guest_read(&vm, 3), 0);
	memset(mem + 3 * PAGE, 'p', PAGE);
	EXPECT(guest_read(&vm, 3), 'p');
	EXPECT(guest_ask(&vm, VM_DATA + 3 * PAGE, 1, true, &defaults), 0);
	EXPECT(try_host_read(mem + 3 * PAGE), SIGBUS_READ);
	guest_write(&vm, 3, 'q');
	EXPECT(guest_read(&vm, 3), 'q');
}

static void addresses_of_a_slot_that_stays_are_kept(void)
{
	uint8_t *before = mem;

	/* The guest has run, so KVM keeps its slots, and nothing else is to lie under them. */
	guest_agree(&vm, 0, 1);
	memset(mem, 'x', PAGE);
	gmem_destroy(gmem);
	gmem = vm_memory(&vm, SIZE, GMEM_SHARED, 2, VM_DATA + 2 * SIZE, &mem);
	EXPECT(mem + SIZE <= before || before + SIZE <= mem, true);
}

static void only_the_owner_converts(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		EXPECT(convert(gmem, 0, PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), -EIO);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	EXPECT(status, 0);
	expect_attributes(0, PAGE, GMEM_SHARED);
}

/* The ioctl itself, which the library would not call like this. */
static int raw(struct kvm_memory_attributes2 *attrs)
{
	return ioctl(gmem_private_fd(gmem), KVM_SET_MEMORY_ATTRIBUTES2, attrs) ? -errno : 0;
}

static void ioctl_refuses_what_it_does_not_know(void)
{
	struct kvm_memory_attributes2 attrs;
	size_t i;

	for (i = 0; i < sizeof(attrs.reserved) / sizeof(attrs.reserved[0]); i++) {
		attrs = (struct kvm_memory_attributes2){ .size = PAGE, .attributes = GMEM_PRIVATE };
		attrs.reserved[i] = 1;
		EXPECT(raw(&attrs), -EINVAL);
	}
	for (i = 3; i < 64; i++) {
		attrs = (struct kvm_memory_attributes2){
			.size = PAGE, .attributes = GMEM_PRIVATE, .flags = i == 3 ? 3 : 1ull << (i - 1),
		};
		EXPECT(raw(&attrs), attrs.flags < 3 ? 0 : -EINVAL);
	}
	for (i = 0; i < 64; i++) {
		attrs = (struct kvm_memory_attributes2){ .size = PAGE, .attributes = 1ull << i };
		if (attrs.attributes != GMEM_PRIVATE)
			EXPECT(raw(&attrs), -EINVAL);
	}
	EXPECT(try_host_read(mem), 0);
}

static void ioctl_writes_error_offset_on_failure_only(void)
{
	struct kvm_memory_attributes2 attrs = {
		.size = SIZE, .attributes = GMEM_PRIVATE, .error_offset = 0x1234,
		.flags = KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE,
	};
	int pipefd[2];

	pin_in_pipe(mem + 9 * PAGE, pipefd);
	EXPECT(raw(&attrs), -EAGAIN);
	EXPECT(attrs.error_offset, 9 * PAGE);
	unpin_pipe(pipefd);
	attrs.error_offset = 0x1234;
	EXPECT(raw(&attrs), 0);
	EXPECT(attrs.error_offset, 0x1234);
	attrs.size = 0;
	EXPECT(raw(&attrs), -EINVAL);
	EXPECT(attrs.error_offset, 0x1234);
}

/* ---- What each needs ------------------------------------------------------- */

#define TWO		(1u << GMEM_TWO_BACKINGS)
#define PLAIN		(1u << GMEM_IN_PLACE_PLAIN)
#define POLICIES	(1u << GMEM_IN_PLACE)
#define IN_PLACE	(PLAIN | POLICIES)
#define ANY		(TWO | IN_PLACE)

struct promise {
	const char *name;
	void (*run)(void);
	uint32_t mechanisms;
	/* Policies that are needed in either direction. */
	uint32_t to_shared;
	uint32_t to_private;
	/* Made where guests have a say in what becomes shared, and nowhere else. */
	bool must_agree;
	/* Made by kernels that say who is private. */
	bool is_shown;
};

#define Z	GMEM_POLICY_BIT(GMEM_ZERO)
#define P	GMEM_POLICY_BIT(GMEM_PRESERVE)
#define N	GMEM_POLICY_BIT(GMEM_NONE)
#define PROMISE(group, function, ...) { group "." #function, function, __VA_ARGS__, false, false }
#define CONSENT(function, ...) { "consent." #function, function, IN_PLACE, __VA_ARGS__, true, false }
#define VISIBLE(function, ...) { "visible." #function, function, IN_PLACE, __VA_ARGS__, false, true }

static const struct promise promises[] = {
	PROMISE("probe", offered_policies_work_and_others_are_refused, ANY, N, N),
	PROMISE("memory", descriptors_are_close_on_exec, ANY, 0, 0),
	PROMISE("memory", new_memory_reads_zeros, ANY, 0, 0),
	PROMISE("memory", new_private_memory_reads_zeros, ANY, 0, 0),
	PROMISE("memory", shared_pages_are_seen_live_by_both, ANY, 0, 0),
	PROMISE("memory", private_pages_belong_to_the_guest, ANY, 0, N),
	PROMISE("memory", host_touch_of_private_is_sigbus, IN_PLACE, Z, N),
	PROMISE("memory", kernel_does_not_read_private_for_the_host, IN_PLACE, 0, N),
	PROMISE("memory", conversion_moves_no_page, IN_PLACE, P, P),
	PROMISE("memory", conversion_allocates_nothing, ANY, Z, N),
	PROMISE("memory", other_half_is_given_back, TWO, Z, N),
	PROMISE("policy", zero_to_shared_reads_zeros, ANY, Z, N),
	PROMISE("policy", zero_to_shared_hides_what_the_host_left, ANY, Z, N),
	PROMISE("policy", zero_to_private_reads_zeros, ANY, 0, Z),
	PROMISE("policy", preserve_keeps_bytes_both_ways, ANY, P, P),
	PROMISE("policy", none_reads_what_this_vm_type_leaves, POLICIES, N, N),
	PROMISE("policy", repeated_conversion_keeps_bytes, ANY, Z, N),
	PROMISE("pin", pinned_page_is_refused_at_its_offset, IN_PLACE, 0, N),
	PROMISE("pin", holder_that_lets_go_is_waited_for, IN_PLACE, 0, N),
	PROMISE("pin", pin_does_not_stop_going_to_shared, IN_PLACE, Z, N),
	PROMISE("range", request_spans_slots, ANY, Z, N),
	PROMISE("range", failure_in_the_second_slot_changes_nothing, IN_PLACE, 0, N),
	PROMISE("range", hole_is_refused_where_it_is, ANY, 0, N),
	PROMISE("range", device_memory_is_refused_where_it_is, ANY, 0, N),
	PROMISE("range", wrong_requests_are_refused, ANY, 0, N),
	PROMISE("listener", listeners_are_told_in_order, ANY, Z, N),
	PROMISE("exit", hypercall_converts_what_the_guest_asks, ANY, Z, N),
	CONSENT(page_that_the_guest_shares_keeps_bytes_both_ways, P, P),
	CONSENT(guest_that_touches_a_shared_page_asks_for_it, P, P),
	CONSENT(to_shared_without_consent_is_refused_where_it_is, P, P),
	CONSENT(consent_is_for_one_page, P, P),
	CONSENT(consent_is_taken_back_by_unsharing, P, P),
	CONSENT(unsharing_waits_while_the_host_holds_the_page, P, P),
	CONSENT(request_that_is_not_granted_comes_again, P, P),
	CONSENT(default_options_serve_the_guest, Z, N),
	CONSENT(addresses_of_a_slot_that_stays_are_kept, P, P),
	PROMISE("owner", only_the_owner_converts, IN_PLACE, 0, N),
	PROMISE("ioctl", ioctl_refuses_what_it_does_not_know, POLICIES, 0, 0),
	PROMISE("ioctl", ioctl_writes_error_offset_on_failure_only, POLICIES, 0, N),
	VISIBLE(getter_says_which_pages_are_private, 0, N),
	VISIBLE(getter_refuses_what_is_wrong, 0, 0),
	VISIBLE(getter_answers_whoever_has_the_file, 0, N),
	VISIBLE(library_agrees_with_the_kernel, 0, N),
	VISIBLE(fdinfo_has_what_is_private_and_shared, 0, N),
	VISIBLE(fdinfo_has_each_slot_once, 0, 0),
	VISIBLE(statistics_count_what_changes, N, N),
	VISIBLE(statistics_count_what_is_refused, 0, N),
};

#define NR_PROMISES (sizeof(promises) / sizeof(promises[0]))

/* ---- Running them ---------------------------------------------------------- */

static const char *why_not(const struct promise *promise)
{
	if (!(promise->mechanisms & (1u << probe->mechanism)))
		return "not a promise of this mechanism";
	if (promise->to_shared & ~probe->to_shared)
		return "needs a policy to shared that is not offered";
	if (promise->to_private & ~probe->to_private)
		return "needs a policy to private that is not offered";
	if (promise->is_shown && !kernel_shows())
		return "this kernel does not say who is private";
	/* Any page of this process answers that. */
	if (promise->run == conversion_moves_no_page && !page_frame((const uint8_t *)promise))
		return "reading page frames needs /proc and CAP_SYS_ADMIN";

	return NULL;
}

/* EXIT_OK, EXIT_WRONG or EXIT_UNSUPPORTED, after a line of TAP. */
static int run_case(int number, enum gmem_mechanism mechanism, const struct promise *promise)
{
	const char *title = gmem_mechanism_name(mechanism), *reason;
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		alarm(CASE_SECONDS);
		EXPECT(!vm_create(&vm, mechanism), true);
		probe = gmem_vm_probe(vm.gmem);
		reason = why_not(promise);
		if (reason) {
			printf("ok %d - %s: %s # SKIP %s\n", number, title, promise->name, reason);
			fflush(stdout);
			_exit(EXIT_UNSUPPORTED);
		}
		gmem = vm_memory(&vm, SIZE, GMEM_SHARED, VM_DATA_SLOT, VM_DATA, &mem);
		promise->run();
		gmem_destroy(gmem);
		vm_destroy(&vm);
		_exit(EXIT_OK);
	}

	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_UNSUPPORTED)
		return EXIT_UNSUPPORTED;
	if (WIFSIGNALED(status))
		printf("# ended by signal %d%s\n", WTERMSIG(status),
		       WTERMSIG(status) == SIGALRM ? ", it took too long" : "");
	printf("%sok %d - %s: %s\n", status ? "not " : "", number, title, promise->name);
	output_flush();

	return status ? EXIT_WRONG : EXIT_OK;
}

static bool is_wanted(const struct promise *promise, char **patterns)
{
	if (promise->must_agree && !guest_arch.must_agree)
		return false;
	if (!*patterns)
		return true;
	for (; *patterns; patterns++) {
		if (!fnmatch(*patterns, promise->name, 0))
			return true;
	}

	return false;
}

static bool matches_something(char *pattern)
{
	char *patterns[] = { pattern, NULL };
	size_t i;

	for (i = 0; i < NR_PROMISES; i++) {
		if (is_wanted(&promises[i], patterns))
			return true;
	}

	return false;
}

static const struct {
	const char *option;
	enum gmem_mechanism mechanism;
} mechanisms[] = {
	{ "in-place", GMEM_IN_PLACE },
	{ "in-place-plain", GMEM_IN_PLACE_PLAIN },
	{ "two-backings", GMEM_TWO_BACKINGS },
};

#define NR_MECHANISMS (sizeof(mechanisms) / sizeof(mechanisms[0]))

static uint32_t parse_mechanism(const char *text)
{
	size_t i;

	for (i = 0; i < NR_MECHANISMS; i++) {
		if (!strcmp(text, mechanisms[i].option))
			return 1u << mechanisms[i].mechanism;
	}
	die_usage("no mechanism '%s': in-place, in-place-plain or two-backings", text);
}

int cmd_check(int argc, char **argv)
{
	static const struct option options[] = {
		{ "mechanism", required_argument, NULL, 'm' },
		{ "list", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	int totals[EXIT_UNSUPPORTED + 1] = {}, number = 0, c;
	uint32_t wanted = 0;
	const char *lacking;
	struct vm probing;
	char **pattern;
	size_t i, j, nr = 0;
	bool list = false;

	while ((c = getopt_long(argc, argv, "m:lh", options, NULL)) != -1) {
		switch (c) {
		case 'm':
			wanted |= parse_mechanism(optarg);
			break;
		case 'l':
			list = true;
			break;
		case 'h':
			puts("usage: gmem check [-m in-place|in-place-plain|two-backings] [-l] [PATTERN...]");
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	for (pattern = argv + optind; *pattern; pattern++) {
		if (!matches_something(*pattern))
			die_usage("no promise is called '%s', 'gmem check -l' lists them", *pattern);
	}
	for (i = 0; i < NR_PROMISES; i++) {
		if (!is_wanted(&promises[i], argv + optind))
			continue;
		nr++;
		if (list)
			puts(promises[i].name);
	}
	if (list)
		return EXIT_OK;

	puts("TAP version 13");
	output_flush();
	lacking = vm_create(&probing, GMEM_MECHANISM_NONE);
	if (!lacking) {
		if (!wanted)
			wanted = gmem_vm_probe(probing.gmem)->mechanisms;
		if (wanted & ~gmem_vm_probe(probing.gmem)->mechanisms)
			lacking = "this kernel lacks a mechanism that is asked for; 'gmem probe' says which it has";
		vm_destroy(&probing);
	}
	if (lacking) {
		printf("1..0 # SKIP %s\n", lacking);
		return EXIT_UNSUPPORTED;
	}

	printf("1..%zu\n", nr * __builtin_popcount(wanted));
	output_flush();
	for (i = 0; i < NR_MECHANISMS; i++) {
		if (!(wanted & (1u << mechanisms[i].mechanism)))
			continue;
		for (j = 0; j < NR_PROMISES; j++) {
			if (is_wanted(&promises[j], argv + optind))
				totals[run_case(++number, mechanisms[i].mechanism, &promises[j])]++;
		}
	}
	printf("# %d passed, %d failed, %d skipped\n", totals[EXIT_OK], totals[EXIT_WRONG],
	       totals[EXIT_UNSUPPORTED]);

	return totals[EXIT_WRONG] ? EXIT_WRONG : EXIT_OK;
}
