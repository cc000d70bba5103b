// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * In the machine: known conversions and refusals, and what "gmem trace", "gmem who" and
 * "gmem map" say of them.  TAP.  The command is beside this program.
 */
#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../examples/vm.h"
#include "command.h"
#include "holders.h"
#include "kvm_abi.h"
#include "tap.h"

#define PAGES		64ul
#define HELD		5ul
#define INSTANCES	"/sys/kernel/tracing/instances"
#define ZERO		KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_ZERO
#define NONE		KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE

static struct vm vm;
static struct gmem_vm *memories;
static struct gmem *ram;
static char *hva;
static int fd;
/* What each page is. */
static bool model[PAGES];

/* ---- The memory ----------------------------------------------------------------- */

/* Call the kernel directly, as libgmem may try again. */
static int ask(int file, uint64_t start, uint64_t nr, bool to_private, uint64_t policy)
{
	struct kvm_memory_attributes2 attrs = {
		.offset = start,
		.size = nr * PAGE,
		.attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
		.flags = policy,
	};

	return sys(ioctl(file, KVM_SET_MEMORY_ATTRIBUTES2, &attrs));
}

static void set(uint64_t first, uint64_t nr, bool to_private, uint64_t policy)
{
	check(ask(fd, first * PAGE, nr, to_private, policy), "KVM_SET_MEMORY_ATTRIBUTES2");
	for (; nr; nr--, first++)
		model[first] = to_private;
}

static void make_memory(uint64_t size)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, size, NULL, &ram), "gmem_create");
	fd = gmem_private_fd(ram);
	check(ask(fd, 0, size / PAGE, false, NONE), "to shared");
}

/* ---- The command ---------------------------------------------------------------- */

/*
 * The command's instance of tracefs, and whether it is tracing already; NULL if there is
 * none.
 */
static const char *instance(bool *enabled)
{
	static char path[512];
	struct dirent *entry;
	DIR *dir = opendir(INSTANCES);
	bool found = false;
	char value = '0';
	FILE *f;

	while (dir && !found && (entry = readdir(dir)))
		found = !strncmp(entry->d_name, "gmem-", strlen("gmem-"));
	if (found)
		snprintf(path, sizeof(path), "%s/%s/events/kvm_gmem/kvm_gmem_convert/enable", INSTANCES,
			 entry->d_name);
	if (dir)
		closedir(dir);
	f = found ? fopen(path, "r") : NULL;
	if (f) {
		value = getc(f);
		fclose(f);
	}
	*enabled = value == '1';
	return found ? path : NULL;
}

/* False if it ends before it has started to trace. */
static bool wait_until_traced(pid_t child)
{
	bool enabled;

	for (;;) {
		instance(&enabled);
		if (enabled)
			return true;
		if (waitpid(child, NULL, WNOHANG))
			return false;
		usleep(10000);
	}
}

static bool nothing_left(void)
{
	bool enabled;

	return !instance(&enabled);
}

/* ---- gmem trace ----------------------------------------------------------------- */

static int in_pipe, in_ring;

/* Two that succeed, two that are refused, one of the VM; and one of another VM. */
static void convert_this_and_that(void)
{
	int ends[2], ring;
	pid_t child;

	set(0, 4, true, ZERO);
	set(1, 2, false, NONE);

	hva[HELD * PAGE] = 'p';
	hold_in_pipe(hva + HELD * PAGE, ends);
	in_pipe = ask(fd, HELD * PAGE, 3, true, ZERO);
	close(ends[0]);
	close(ends[1]);

	hva[HELD * PAGE] = 'u';
	ring = hold_in_ring(hva + HELD * PAGE, 1);
	in_ring = ask(fd, 4 * PAGE, 4, true, ZERO);
	close(ring);

	check(ask(vm.fd, DATA_GPA + 8 * PAGE, 2, true, ZERO), "the VM's ioctl");
	model[8] = model[9] = true;

	child = fork();
	if (!child) {
		make_memory(PAGES * PAGE);
		set(16, 16, true, ZERO);
		_exit(0);
	}
	check(end_command(child), "another VM");
}

static void expect(const char *range, const char *outcome, const char *what)
{
	char process[64];

	snprintf(process, sizeof(process), "\"pid\": %d, \"name\": \"trace\"", getpid());
	result(lines_with(range, outcome) == 1 && lines_with(range, process) == 1, "%s", what);
}

static void trace(void)
{
	char pid[16], file[64], range[160], refusal[160], outcome[256];
	struct stat st;
	pid_t child;
	int status;

	check(sys(fstat(fd, &st)), "fstat");
	snprintf(pid, sizeof(pid), "%d", getpid());
	snprintf(file, sizeof(file), "\"fd\": %d, \"ino\": %lu", fd, (unsigned long)st.st_ino);
	child = BEGIN("trace", "--json", "--summary", pid);
	if (!wait_until_traced(child)) {
		show_output();
		printf("Bail out! it does not trace\n");
		exit(1);
	}
	convert_this_and_that();
	usleep(300000);
	kill(child, SIGTERM);
	status = end_command(child);
	show_output();

	result(!status && nothing_left(), "signal_ends_it_and_nothing_is_left");
	snprintf(range, sizeof(range), "%s, \"start\": 0, \"size\": %lu, \"to\": \"private\", \"policy\": \"ZERO\"",
		 file, 4 * PAGE);
	expect(range, "\"changed\": 16384, \"result\": 0, \"error\": null", "conversion_to_private_has_its_numbers");
	snprintf(range, sizeof(range), "%s, \"start\": %lu, \"size\": %lu, \"to\": \"shared\", \"policy\": \"NONE\"",
		 file, PAGE, 2 * PAGE);
	expect(range, "\"changed\": 8192, \"result\": 0, \"error\": null", "conversion_to_shared_has_its_numbers");
	snprintf(range, sizeof(range), "%s, \"start\": %lu, \"size\": %lu", file, HELD * PAGE, 3 * PAGE);
	snprintf(refusal, sizeof(refusal), "\"result\": -11, \"error\": \"EAGAIN\", \"error_offset\": %lu, "
		 "\"error_ino\": %lu, \"references\": ", HELD * PAGE, (unsigned long)st.st_ino);
	snprintf(outcome, sizeof(outcome), "%s2, \"maps\": 0, \"pins\": 0, \"pinned\": false", refusal);
	expect(range, outcome, "pipe_refuses_and_does_not_look_like_a_pin");
	snprintf(range, sizeof(range), "%s, \"start\": %lu, \"size\": %lu", file, 4 * PAGE, 4 * PAGE);
	snprintf(outcome, sizeof(outcome), "%s1025, \"maps\": 0, \"pins\": 1, \"pinned\": true", refusal);
	expect(range, outcome, "registered_buffer_refuses_and_looks_like_a_pin");
	result(in_pipe == -EAGAIN && in_ring == -EAGAIN, "both_were_refused");
	snprintf(range, sizeof(range), "\"fd\": null, \"ino\": 0, \"start\": %lu, \"size\": %lu",
		 DATA_GPA + 8 * PAGE, 2 * PAGE);
	expect(range, "\"changed\": 8192, \"result\": 0", "range_of_the_vm_is_said_by_address");
	result(!lines_with("\"size\": 65536", "\"start\": 65536,"), "other_processes_are_filtered_out");
	result(lines_with("\"lost\": 0, \"to_private\": { \"conversions\": 2, \"changed\": 24576, \"unchanged\": 0, \"refused\": 2, "
			  "\"errors\": {\"EAGAIN\": 2}", "\"to_shared\": { \"conversions\": 1, \"changed\": 8192,") == 1,
	       "summary_adds_up");
}

static void limits(void)
{
	char pid[16];
	struct timespec began, now;
	int status;

	snprintf(pid, sizeof(pid), "%d", getpid());
	clock_gettime(CLOCK_MONOTONIC, &began);
	status = RUN("trace", "--seconds", "1.5", pid);
	clock_gettime(CLOCK_MONOTONIC, &now);
	result(!status && nothing_left() && now.tv_sec - began.tv_sec >= 1, "seconds_end_it");
	result(RUN("trace", "999999999") == 1 && RUN("trace", "1") == 1, "process_without_memory_is_refused");
	result(RUN("trace", "--seconds", "x") == 2 && RUN("trace", "1", "2") == 2 && RUN("trace", "0x") == 2,
	       "wrong_arguments_are_refused");
}

/* ---- gmem who ------------------------------------------------------------------- */

static void who(bool by_address)
{
	char file[32], offset[32], page[96];
	int ring;
	pid_t child;

	snprintf(file, sizeof(file), "%d:%d", getpid(), fd);
	snprintf(offset, sizeof(offset), "%lu", HELD * PAGE);
	hva[HELD * PAGE] = 'w';
	ring = hold_in_ring(hva + HELD * PAGE, 1);
	child = BEGIN("who", "--json", "--wait", "60", file, offset);
	if (wait_until_traced(child)) {
		if (by_address)
			ask(vm.fd, DATA_GPA + HELD * PAGE, 1, true, ZERO);
		else
			ask(fd, HELD * PAGE, 1, true, ZERO);
	}
	end_command(child);
	close(ring);
	show_output();
	result(lines_with("\"refused\": { \"references\": 1025, ", "\"pins\": 1, \"pinned\": true }") == 1 &&
	       nothing_left(), "who_says_refusals_of_the_%s", by_address ? "address" : "file");
	if (!by_address)
		return;

	snprintf(file, sizeof(file), "%d:gpa", getpid());
	snprintf(offset, sizeof(offset), "%lu", DATA_GPA + HELD * PAGE + 1);
	snprintf(page, sizeof(page), "page 0x%lx of %d:%d, guest physical 0x%lx", HELD * PAGE, getpid(), fd,
		 DATA_GPA + HELD * PAGE);
	result(!RUN("who", "--wait", "0", file, offset) && lines_with(page, "") == 1, "who_takes_an_address");
	show_output();
	snprintf(file, sizeof(file), "%d", getpid());
	snprintf(offset, sizeof(offset), "%lu", HELD * PAGE);
	result(!RUN("who", "--wait", "0", file, offset) && lines_with(page, "") == 1, "who_takes_the_only_file");
	result(!RUN("who", "--wait", "0.5", file, offset) && lines_with("no conversion was refused", ""),
	       "who_waits_for_a_limited_time");
}

/* ---- gmem map ------------------------------------------------------------------- */

/* Eight cells in a row, each a page. */
static bool map_is_right(bool bound)
{
	char row[96], offset[32], gpa[32];
	uint64_t i, j;
	int n;

	for (i = 0; i < PAGES; i += 8) {
		sprintf(offset, "0x%lx", i * PAGE);
		sprintf(gpa, "0x%lx", DATA_GPA + i * PAGE);
		n = bound ? sprintf(row, "%14s%18s  ", offset, gpa) : sprintf(row, "%14s  ", offset);
		for (j = i; j < i + 8; j++)
			row[n++] = model[j] ? 'P' : 's';
		row[n++] = '\n';
		row[n] = '\0';
		if (lines_with(row, "") != 1)
			return false;
	}

	return true;
}

/* As programs read it. */
static bool json_is_right(void)
{
	char states[PAGES + 16];
	uint64_t i;
	int n = sprintf(states, "\"states\": \"");

	for (i = 0; i < PAGES; i++)
		states[n++] = model[i] ? 'P' : 's';
	strcpy(states + n, "\"");
	return lines_with(states, "\"slots\": [{ \"slot\": 1, \"gpa\": 65536, \"size\": 262144, \"offset\": 0 }]") == 1;
}

static void map(void)
{
	char file[32], pid[16];

	snprintf(file, sizeof(file), "%d:%d", getpid(), fd);
	snprintf(pid, sizeof(pid), "%d", getpid());
	result(!RUN("map", "-w", "8", file) && map_is_right(true) && lines_with("4 KiB a cell", "") == 1,
	       "map_is_what_was_converted");
	show_output();
	result(lines_with("slot 1: guest physical 0x10000 is offset 0x0, for 0x40000", "") == 1,
	       "map_says_where_it_is_bound");
	result(!RUN("map", "-w", "8", "--json", file) && json_is_right(), "map_for_programs_says_the_same");
	set(40, 20, true, ZERO);
	set(50, 1, false, NONE);
	result(!RUN("map", "-w", "8", pid) && map_is_right(true), "map_of_a_process_has_its_file");
	check(gmem_unbind(memories, DATA_GPA, NULL), "gmem_unbind");
	result(!RUN("map", "-w", "8", file) && map_is_right(false), "map_of_what_is_not_bound_has_no_addresses");
	result(RUN("map", "1:1") == 1 && RUN("map", "-o", "/nonexistent/x.svg", file) == 1 &&
	       RUN("map", "-o", "/tmp/x.png", file) == 0, "map_is_written_where_it_can_be");
}

static void follow(void)
{
	char pid[16], file[64];
	/* By then each of them has found the process. */
	static const char *const shown[] = { "a cell", "RESULT", "HOLDS BY" };
	pid_t child, command, ends[3];
	int ready[2], status, i;
	char c;

	check(sys(pipe(ready)), "pipe");
	fflush(stdout);
	child = fork();
	if (!child) {
		/* So that it has one guest_memfd. */
		close(fd);
		make_memory(PAGES * PAGE);
		if (write(ready[1], "r", 1) == 1)
			pause();
		_exit(1);
	}
	check(read(ready[0], &c, 1) == 1 ? 0 : EIO, "the other VM");

	snprintf(pid, sizeof(pid), "%d", child);
	command = BEGIN("map", "--follow", "--interval", "0.1", pid);
	do
		usleep(100000);
	while (lines_with("a cell", "") < 3 && !waitpid(command, &status, WNOHANG));
	kill(command, SIGTERM);
	result(end_command(command) == 0 && lines_with("a cell", "") >= 3, "map_follows_until_a_signal");

	command = BEGIN("who", "--json", "--wait", "60", pid, "0");
	wait_until_traced(command);
	kill(command, SIGTERM);
	end_command(command);
	result(lines_with("\"watched\": false, \"refused\": null", "") == 1, "who_says_that_a_signal_came");

	/* All three end with the process. */
	for (i = 0; i < 3; i++) {
		command = i == 0 ? BEGIN("map", "--follow", "--interval", "0.1", pid) :
			  i == 1 ? BEGIN("trace", pid) : BEGIN("who", "--wait", "60", pid, "0");
		ends[i] = command;
		while (!lines_with(shown[i], ""))
			usleep(10000);
		snprintf(file, sizeof(file), "/tmp/output.%d", i);
		rename(OUTPUT, file);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	result(end_command(ends[0]) == 0, "map_follows_until_the_process_ends");
	result(end_command(ends[1]) == 0, "trace_ends_with_the_process");
	status = end_command(ends[2]);
	rename("/tmp/output.2", OUTPUT);
	snprintf(file, sizeof(file), "process %s has ended", pid);
	result(!status && lines_with(file, "") == 1 && nothing_left(), "who_says_that_the_process_has_ended");
}

/* The shortest time of three attempts, in milliseconds. */
static uint64_t time_of_map(const char *file)
{
	struct timespec began, now;
	uint64_t best = UINT64_MAX, ms;
	int i;

	for (i = 0; i < 3; i++) {
		clock_gettime(CLOCK_MONOTONIC, &began);
		if (RUN("map", (char *)file))
			return UINT64_MAX;
		clock_gettime(CLOCK_MONOTONIC, &now);
		ms = (now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000;
		if (ms < best)
			best = ms;
	}

	return best;
}

/* 1 TiB in 2^20 ranges, every second one of which is private. */
static void large(void)
{
	uint64_t pages = (1ull << 40) / PAGE, i, ms, part = 1ull << 16;
	char file[32];

	make_memory(pages * PAGE);
	for (i = 0; i < 1 << 19; i++) {
		check(ask(fd, (i << 21) + PAGE, 1, true, ZERO), "a private page");
		if (i % part == part - 1)
			printf("# %" PRIu64 " ranges\n", 2 * i);
		fflush(stdout);
	}
	snprintf(file, sizeof(file), "%d:%d", getpid(), fd);
	ms = time_of_map(file);
	printf("# 2^20 ranges in 1 TiB are drawn in %" PRIu64 " ms\n", ms);
	result(ms < 1000 && lines_with("mmmm", "") == 64, "map_of_1_TiB_takes_less_than_a_second");
}

int main(void)
{
	void *mem;

	plan("trace", 29);
	make_memory(PAGES * PAGE);
	check(gmem_bind(ram, 1, DATA_GPA, 0, PAGES * PAGE, NULL), "gmem_bind");
	check(gmem_map(ram, NULL, &mem), "gmem_map");
	hva = mem;

	trace();
	limits();
	who(false);
	who(true);
	map();
	follow();
	large();

	return exit_status();
}
