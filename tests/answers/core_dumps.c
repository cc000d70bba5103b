// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Core dumps: what is in them. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "answers.h"

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

void core_dumps(void)
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
