// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Promises of gmem check: what the kernel shows of memory that converts in place. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/kvm_gmem.h>

#include "check.h"
#include "proc.h"

/* Anything but an answer. */
#define NOTHING	0x1234

static const char *does_not_show(void)
{
	return ioctl(vm.fd, KVM_CHECK_EXTENSION, KVM_CAP_GET_MEMORY_ATTRIBUTES2) == 1 ? NULL :
	       "this kernel does not say which pages are private";
}

/* ---- The getter ------------------------------------------------------------- */

static int get(struct kvm_memory_attributes2_range *range)
{
	range->size = NOTHING;
	range->attributes = NOTHING;
	return ioctl(gmem_private_fd(gmem), KVM_GET_MEMORY_ATTRIBUTES2, range) ? -errno : 0;
}

static void expect_range(uint64_t page, uint64_t end, uint64_t attributes)
{
	struct kvm_memory_attributes2_range range = { .offset = page * PAGE };

	EXPECT(get(&range), 0);
	EXPECT(range.offset, page * PAGE);
	EXPECT(range.size, (end - page) * PAGE);
	EXPECT(range.attributes, attributes);
}

static void getter_says_which_pages_are_private(void)
{
	expect_range(0, PAGES, GMEM_SHARED);
	EXPECT(convert(gmem, 3 * PAGE, 5 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	expect_range(0, 3, GMEM_SHARED);
	expect_range(3, 8, GMEM_PRIVATE);
	expect_range(7, 8, GMEM_PRIVATE);
	expect_range(8, PAGES, GMEM_SHARED);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	expect_range(0, PAGES, GMEM_PRIVATE);
	expect_range(PAGES - 1, PAGES, GMEM_PRIVATE);
}

static void getter_refuses_what_is_wrong(void)
{
	static const uint64_t offsets[] = { 1, PAGE - 1, SIZE, SIZE + PAGE, -PAGE, 1ull << 63 };
	struct kvm_memory_attributes2_range range;
	size_t i;

	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		range = (struct kvm_memory_attributes2_range){ .offset = offsets[i] };
		EXPECT(get(&range), -EINVAL);
		EXPECT(range.size, NOTHING);
		EXPECT(range.attributes, NOTHING);
	}
	for (i = 0; i < sizeof(range.reserved) / sizeof(range.reserved[0]); i++) {
		range = (struct kvm_memory_attributes2_range){};
		range.reserved[i] = 1;
		EXPECT(get(&range), -EINVAL);
	}
	EXPECT(ioctl(gmem_private_fd(gmem), KVM_GET_MEMORY_ATTRIBUTES2, NULL), -1);
	EXPECT(errno, EFAULT);
	/* ENOTTY, or EINVAL, which is what arm64 says to an ioctl that it does not know. */
	EXPECT(ioctl(vm.fd, KVM_GET_MEMORY_ATTRIBUTES2, &range), -1);
}

static void getter_answers_whoever_has_the_file(void)
{
	int status;
	pid_t pid;

	EXPECT(convert(gmem, 0, 2 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	pid = fork();
	if (!pid) {
		expect_range(0, 2, GMEM_PRIVATE);
		expect_range(2, PAGES, GMEM_SHARED);
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0), pid);
	EXPECT(status, 0);
}

/* ---- The library ------------------------------------------------------------- */

static void library_agrees_with_the_kernel(void)
{
	struct kvm_memory_attributes2 attrs = {
		.offset = 9 * PAGE, .size = 2 * PAGE, .attributes = GMEM_PRIVATE,
		.flags = KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE,
	};
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	EXPECT(gmem_verify(gmem, &range), 0);
	EXPECT(convert(gmem, PAGE, 4 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(gmem_verify(gmem, &range), 0);

	/* Behind the library's back. */
	EXPECT(ioctl(gmem_private_fd(gmem), KVM_SET_MEMORY_ATTRIBUTES2, &attrs), 0);
	EXPECT(gmem_verify(gmem, &range), 1);
	EXPECT(range.offset, 9 * PAGE);
	EXPECT(range.size, 2 * PAGE);
	EXPECT(range.gpa, VM_DATA + 9 * PAGE);
	EXPECT(range.attributes, GMEM_PRIVATE);
	expect_attributes(9 * PAGE, 2 * PAGE, GMEM_SHARED);

	EXPECT(gmem_rebuild(gmem), 0);
	EXPECT(gmem_verify(gmem, NULL), 0);
	expect_attributes(PAGE, 4 * PAGE, GMEM_PRIVATE);
	expect_attributes(5 * PAGE, 4 * PAGE, GMEM_SHARED);
	expect_attributes(9 * PAGE, 2 * PAGE, GMEM_PRIVATE);
	expect_attributes(11 * PAGE, 5 * PAGE, GMEM_SHARED);
}

/* ---- fdinfo ------------------------------------------------------------------- */

static uint64_t fdinfo(const char *key)
{
	return proc_fdinfo(getpid(), gmem_private_fd(gmem), key);
}

static void fdinfo_has_what_is_private_and_shared(void)
{
	EXPECT(fdinfo("gmem-in-place"), 1);
	EXPECT(fdinfo("gmem-size"), SIZE);
	EXPECT(fdinfo("gmem-private"), 0);
	EXPECT(fdinfo("gmem-shared"), SIZE);
	EXPECT(convert(gmem, 2 * PAGE, 5 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(fdinfo("gmem-private"), 5 * PAGE);
	EXPECT(fdinfo("gmem-shared"), SIZE - 5 * PAGE);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(fdinfo("gmem-private"), SIZE);
	/*
	 * With one state again, the file keeps what the next conversion is likely to need: a
	 * leaf.
	 */
	EXPECT(fdinfo("gmem-tracking") < PAGE, true);
}

static void fdinfo_has_each_slot_once(void)
{
	char path[64], line[256], expected[256];
	int nr = 0, nr_right = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", gmem_private_fd(gmem));
	snprintf(expected, sizeof(expected), "gmem-slot:\t%d gpa %#lx size %#lx offset 0x0\n",
		 VM_DATA_SLOT, VM_DATA, SIZE);
	file = fopen(path, "r");
	if (!file)
		die("%s", path);
	while (fgets(line, sizeof(line), file)) {
		nr += !strncmp(line, "gmem-slot:", strlen("gmem-slot:"));
		nr_right += !strcmp(line, expected);
	}
	fclose(file);
	EXPECT(nr, 1);
	EXPECT(nr_right, 1);
}

/* ---- Statistics --------------------------------------------------------------- */

/* What the VM has counted, or -1 if it has no such number. */
static int64_t counted(const char *name)
{
	struct kvm_stats_header header;
	struct kvm_stats_desc *desc;
	int64_t value = -1;
	size_t size;
	uint32_t i;
	int fd;

	fd = ioctl(vm.fd, KVM_GET_STATS_FD, NULL);
	if (fd < 0 || pread(fd, &header, sizeof(header), 0) != sizeof(header))
		die("KVM_GET_STATS_FD");

	size = sizeof(*desc) + header.name_size;
	desc = malloc(size + 1);
	if (!desc)
		die("malloc");
	for (i = 0; i < header.num_desc && value < 0; i++) {
		if (pread(fd, desc, size, header.desc_offset + i * size) != (ssize_t)size)
			die("a descriptor of statistics");
		((char *)desc)[size] = '\0';
		if (!strcmp(desc->name, name) &&
		    pread(fd, &value, sizeof(value), header.data_offset + desc->offset) !=
		    sizeof(value))
			die("%s", name);
	}
	free(desc);
	close(fd);

	return value;
}

/* Since they were last read. */
static void expect_counted(const char *name, int64_t *before, int64_t more)
{
	int64_t now = counted(name);

	EXPECT(now >= 0, true);
	EXPECT(now - *before, more);
	*before = now;
}

static void statistics_count_what_changes(void)
{
	int64_t calls = counted("gmem_conversions_to_private");
	int64_t pages = counted("gmem_pages_to_private");
	int64_t shared = counted("gmem_pages_to_shared");

	EXPECT(convert(gmem, 2 * PAGE, 5 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	expect_counted("gmem_conversions_to_private", &calls, 1);
	expect_counted("gmem_pages_to_private", &pages, 5);

	/* First nothing differs, then something does. */
	EXPECT(convert(gmem, 2 * PAGE, 5 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	expect_counted("gmem_conversions_to_private", &calls, 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	expect_counted("gmem_conversions_to_private", &calls, 1);
	expect_counted("gmem_pages_to_private", &pages, PAGES - 5);

	EXPECT(convert(gmem, 0, 3 * PAGE, GMEM_SHARED, GMEM_NONE, NULL), 0);
	expect_counted("gmem_pages_to_shared", &shared, 3);
}

static void statistics_count_what_is_refused(void)
{
	int64_t refused = counted("gmem_refused_held"), pages = counted("gmem_pages_to_private");
	int pipefd[2];

	pin_in_pipe(mem + 3 * PAGE, pipefd);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), -EAGAIN);
	unpin_pipe(pipefd);
	expect_counted("gmem_refused_held", &refused, 1);
	expect_counted("gmem_pages_to_private", &pages, 0);
}

#define VISIBLE(function, shared, private) \
	PROMISE("visible", function, IN_PLACE, shared, private, .lacks = does_not_show)

static const struct promise promises[] = {
	VISIBLE(getter_says_which_pages_are_private, 0, N),
	VISIBLE(getter_refuses_what_is_wrong, 0, 0),
	VISIBLE(getter_answers_whoever_has_the_file, 0, N),
	VISIBLE(library_agrees_with_the_kernel, 0, N),
	VISIBLE(fdinfo_has_what_is_private_and_shared, 0, N),
	VISIBLE(fdinfo_has_each_slot_once, 0, 0),
	VISIBLE(statistics_count_what_changes, N, N),
	VISIBLE(statistics_count_what_is_refused, 0, N),
};

const struct promises check_visible = { promises, sizeof(promises) / sizeof(promises[0]) };
