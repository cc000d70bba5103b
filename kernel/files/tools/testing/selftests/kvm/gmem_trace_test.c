// SPDX-License-Identifier: GPL-2.0
/* The tracepoint: one event for each call, with what the call did and who refused it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gmem_harness.h"
#include "gmem_util.h"

#define TRACEFS		"/sys/kernel/tracing"
#define INSTANCE	TRACEFS "/instances/gmem_trace_test"
#define ENABLE		INSTANCE "/events/kvm_gmem/kvm_gmem_convert/enable"

/* Pages of another file; the guest has its second half before its first. */
#define OTHER_PAGES	16
#define OTHER_HALF	(OTHER_PAGES / 2)

FIXTURE(trace) {
	struct gmem_vm g;
};

FIXTURE_SETUP(trace)
{
	if (access(TRACEFS "/events/kvm_gmem/kvm_gmem_convert/format", R_OK))
		SKIP(exit(KSFT_SKIP), "needs root, tracefs and CONFIG_EVENT_TRACING");
	rmdir(INSTANCE);
	TEST_ASSERT(!mkdir(INSTANCE, 0700), "mkdir(" INSTANCE ") failed");
	TEST_ASSERT_EQ(write_file(ENABLE, "1"), 0);
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(trace)
{
	gmem_vm_destroy(&self->g);
	write_file(ENABLE, "0");
	rmdir(INSTANCE);
}

#define EVENT_FORMAT	"kvm_gmem_convert: vm=%d ino=%lu start=%lx size=%lx attributes=%lx policy=%lu changed=%lx result=%d error_offset=%lx error_ino=%lu refs=%u maps=%u pins=%u took_ns=%lu locked_ns=%lu"

struct event {
	int vm;
	int result;
	unsigned long ino, start, size, attributes, policy, changed, error_offset;
	unsigned long error_ino;
	unsigned int refs, maps, pins;
	unsigned long took_ns, locked_ns;
};

/* How many events of this VM have been added since the last call, the last one in @last. */
static int take_events(struct event *last)
{
	FILE *file = fopen(INSTANCE "/trace", "r");
	struct event event;
	char line[512], *at;
	int nr = 0, nr_read, fd;

	TEST_ASSERT(file, "fopen(" INSTANCE "/trace) failed");
	while (fgets(line, sizeof(line), file)) {
		at = strstr(line, "kvm_gmem_convert: ");
		if (!at)
			continue;

		nr_read = sscanf(at, EVENT_FORMAT, &event.vm, &event.ino, &event.start,
				 &event.size, &event.attributes, &event.policy,
				 &event.changed, &event.result, &event.error_offset,
				 &event.error_ino, &event.refs, &event.maps, &event.pins,
				 &event.took_ns, &event.locked_ns);
		TEST_ASSERT(nr_read == 15, "%d fields of: %s", nr_read, line);
		/* Others may convert at the same time. */
		if (event.vm != getpid())
			continue;

		nr++;
		*last = event;
	}
	fclose(file);
	/* Opening it like this is what empties it. */
	fd = open(INSTANCE "/trace", O_WRONLY | O_TRUNC);
	TEST_ASSERT(fd >= 0, "open(" INSTANCE "/trace) failed");
	close(fd);

	return nr;
}

static u64 inode_of(struct gmem_vm *g)
{
	struct stat st;

	TEST_ASSERT_EQ(fstat(g->fd, &st), 0);
	return st.st_ino;
}

/* Expects one event of the file, for a call with these fields. */
static struct event expect_event(struct gmem_vm *g, u64 page, u64 nr, u64 attributes,
				 u64 policy, u64 nr_changed, int result)
{
	struct event event;

	TEST_ASSERT_EQ(take_events(&event), 1);
	TEST_ASSERT_EQ(event.ino, inode_of(g));
	TEST_ASSERT_EQ(event.start, page * PAGE_SIZE);
	TEST_ASSERT_EQ(event.size, nr * PAGE_SIZE);
	TEST_ASSERT_EQ(event.attributes, attributes);
	TEST_ASSERT_EQ(event.policy, policy);
	TEST_ASSERT_EQ(event.changed, nr_changed * PAGE_SIZE);
	TEST_ASSERT_EQ(event.result, result);
	TEST_ASSERT_EQ(event.error_ino, result ? inode_of(g) : 0);
	TEST_ASSERT(event.took_ns && event.locked_ns <= event.took_ns,
		    "The call took %lu ns, %lu of them with the lock", event.took_ns,
		    event.locked_ns);

	return event;
}

TEST_F(trace, one_event_for_each_call)
{
	struct gmem_vm *g = &self->g;
	struct event event;

	TEST_ASSERT_EQ(try_convert(g, 3, 5, PRIVATE, ANY_TO_PRIVATE, NULL), 0);
	event = expect_event(g, 3, 5, PRIVATE, ANY_TO_PRIVATE, 5, 0);
	TEST_ASSERT(event.locked_ns, "No lock was taken");
	TEST_ASSERT_EQ(event.error_offset, 0);
	TEST_ASSERT_EQ(event.refs, 0);

	TEST_ASSERT_EQ(try_convert(g, 5, 8, PRIVATE, ANY_TO_PRIVATE, NULL), 0);
	expect_event(g, 5, 8, PRIVATE, ANY_TO_PRIVATE, 5, 0);
	TEST_ASSERT_EQ(try_convert(g, 0, 16, SHARED, PRESERVE, NULL), 0);
	expect_event(g, 0, 16, SHARED, PRESERVE, 10, 0);

	/* A call that has nothing to convert is traced; an invalid one is not. */
	TEST_ASSERT_EQ(try_convert(g, 0, 16, SHARED, PRESERVE, NULL), 0);
	expect_event(g, 0, 16, SHARED, PRESERVE, 0, 0);
	TEST_ASSERT_EQ(try_convert(g, 0, 0, SHARED, PRESERVE, NULL), -EINVAL);
	TEST_ASSERT_EQ(take_events(&event), 0);
}

TEST_F(trace, calls_on_the_vm_have_no_file)
{
	struct gmem_vm *g = &self->g;
	struct event event;

	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, GMEM_GPA + PAGE_SIZE, 2 * PAGE_SIZE, PRIVATE,
				      ANY_TO_PRIVATE, NULL), 0);
	TEST_ASSERT_EQ(take_events(&event), 1);
	TEST_ASSERT_EQ(event.ino, 0);
	TEST_ASSERT_EQ(event.start, GMEM_GPA + PAGE_SIZE);
	TEST_ASSERT_EQ(event.changed, 2 * PAGE_SIZE);
}

/* Where a call on the VM was refused: the guest address, and the file, if it is in one. */
TEST_F(trace, page_of_a_file_that_refuses_a_call_on_the_vm)
{
	struct gmem_vm *g = &self->g, other;
	struct event event;
	int pipefd[2];

	bind_other(g, &other, OTHER_PAGES, GMEM_PAGES, GMEM_SLOT + 1);
	TEST_ASSERT_EQ(pin_in_pipe(other.mem + 2 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, GMEM_PAGES + OTHER_PAGES, PRIVATE, ANY_TO_PRIVATE,
				       NULL), -EAGAIN);
	TEST_ASSERT_EQ(take_events(&event), 1);
	TEST_ASSERT_EQ(event.result, -EAGAIN);
	TEST_ASSERT_EQ(event.ino, 0);
	TEST_ASSERT_EQ(event.error_offset,
		       GMEM_GPA + (GMEM_PAGES + OTHER_HALF + 2) * PAGE_SIZE);
	TEST_ASSERT_EQ(event.error_ino, inode_of(&other));
	TEST_ASSERT_EQ(event.refs, 2);
	unpin_pipe(pipefd);

	TEST_ASSERT_EQ(try_convert_gpa(g, 0, GMEM_PAGES + OTHER_PAGES, PRIVATE, ANY_TO_PRIVATE,
				       NULL), 0);
	TEST_ASSERT_EQ(take_events(&event), 1);
	TEST_ASSERT_EQ(event.changed, (GMEM_PAGES + OTHER_PAGES) * PAGE_SIZE);
	TEST_ASSERT_EQ(event.error_offset, 0);
	TEST_ASSERT_EQ(event.error_ino, 0);

	/* Beyond the memslots there are no files. */
	TEST_ASSERT_EQ(try_convert_gpa(g, GMEM_PAGES + OTHER_PAGES - 1, 2, SHARED, ZERO, NULL),
		       -EOPNOTSUPP);
	TEST_ASSERT_EQ(take_events(&event), 1);
	TEST_ASSERT_EQ(event.error_offset, GMEM_GPA + (GMEM_PAGES + OTHER_PAGES) * PAGE_SIZE);
	TEST_ASSERT_EQ(event.error_ino, 0);
	close_other(&other);
}

/* If another process converts in a VM of its own, the event has that process's ID. */
TEST_F(trace, calls_of_another_vm_are_told_apart)
{
	struct event event;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		struct gmem_vm g;

		gmem_vm_create(&g, 1, GMEM_IN_PLACE);
		TEST_ASSERT_EQ(try_convert(&g, 0, 1, PRIVATE, ANY_TO_PRIVATE, NULL), 0);
		expect_event(&g, 0, 1, PRIVATE, ANY_TO_PRIVATE, 1, 0);
		TEST_ASSERT_EQ(try_convert(&g, 0, 1, SHARED, ZERO, NULL), 0);
		_exit(0);
	}
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT_EQ(status, 0);
	TEST_ASSERT_EQ(take_events(&event), 0);
}

TEST_F(trace, page_that_refuses_with_its_references)
{
	struct gmem_vm *g = &self->g;
	struct event event;
	int pipefd[2], pin;

	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 6 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(try_convert(g, 2, 8, PRIVATE, ANY_TO_PRIVATE, NULL), -EAGAIN);
	event = expect_event(g, 2, 8, PRIVATE, ANY_TO_PRIVATE, 0, -EAGAIN);
	TEST_ASSERT_EQ(event.error_offset, 6 * PAGE_SIZE);
	TEST_ASSERT_EQ(event.refs, 2);
	TEST_ASSERT_EQ(event.maps, 0);
	TEST_ASSERT_EQ(event.pins, 0);
	unpin_pipe(pipefd);

	if (pin_longterm(g->mem + 3 * PAGE_SIZE, &pin))
		SKIP(return, "needs CONFIG_GUP_TEST");
	TEST_ASSERT_EQ(try_convert(g, 2, 8, PRIVATE, ANY_TO_PRIVATE, NULL), -EAGAIN);
	event = expect_event(g, 2, 8, PRIVATE, ANY_TO_PRIVATE, 0, -EAGAIN);
	TEST_ASSERT_EQ(event.error_offset, 3 * PAGE_SIZE);
	TEST_ASSERT_EQ(event.pins, 1);
	close(pin);
}

static void *enable_late(void *data)
{
	usleep(200000);
	TEST_ASSERT_EQ(write_file(ENABLE, "1"), 0);
	return NULL;
}

/* The call waits for a second, and tracing starts in the middle of it. */
TEST_F(trace, tracing_that_begins_in_a_call_has_no_times)
{
	struct gmem_vm *g = &self->g;
	struct event event;
	pthread_t thread;
	int pipefd[2];

	TEST_ASSERT_EQ(pin_in_pipe(g->mem, pipefd), 0);
	TEST_ASSERT_EQ(write_file(ENABLE, "0"), 0);
	pthread_create(&thread, NULL, enable_late, NULL);
	TEST_ASSERT_EQ(try_convert(g, 0, 1, PRIVATE, ANY_TO_PRIVATE, NULL), -EAGAIN);
	pthread_join(thread, NULL);
	unpin_pipe(pipefd);

	/* Unless the machine did not run the thread in time. */
	if (take_events(&event)) {
		TEST_ASSERT_EQ(event.result, -EAGAIN);
		TEST_ASSERT_EQ(event.took_ns, 0);
		TEST_ASSERT_EQ(event.locked_ns, 0);
	}
}

TEST_HARNESS_MAIN
