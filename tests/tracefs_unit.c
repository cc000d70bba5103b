// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* How gmem stops tracing while events keep arriving; a pipe stands in for tracefs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <pthread.h>

#include "../cli/tracefs.c"
#include "../cli/wait.c"

static char directory[] = "/tmp/tracefs.XXXXXX";
static int events;
static unsigned long nr_written;

void die(const char *format, ...)
{
	fail_msg("%s", format);
	abort();
}

static bool is_on(void)
{
	char path[64], value = '1';
	FILE *f;

	snprintf(path, sizeof(path), "%s/tracing_on", directory);
	f = fopen(path, "r");
	if (f) {
		value = getc(f);
		fclose(f);
	}
	return value != '0';
}

/* As fast as they are read. */
static void *produce(void *arg)
{
	(void)arg;
	while (is_on()) {
		if (write(events, "event\n", 6) == 6)
			nr_written++;
	}
	return NULL;
}

/* What ends it; all that was written before that has been read. */
static enum tracefs_result trace(double seconds, unsigned long signal_after, int process)
{
	uint64_t deadline = wait_deadline(seconds);
	enum tracefs_result result;
	unsigned long nr_read = 0;
	pthread_t producer;
	char line[64];
	int ends[2];

	snprintf(instance, sizeof(instance), "%s", directory);
	assert_true(write_to("1", "tracing_on"));
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	trace_pipe = ends[0];
	events = ends[1];
	traced = process;
	began_ns = wait_deadline(0);
	stopped = TRACEFS_LINE;
	nr_written = 0;
	wait_catch(false);

	assert_int_equal(pthread_create(&producer, NULL, produce, NULL), 0);
	while ((result = tracefs_read(line, sizeof(line), deadline)) == TRACEFS_LINE) {
		assert_string_equal(line, "event");
		if (++nr_read == signal_after)
			raise(SIGTERM);
		/* Slower than they arrive. */
		if (is_on())
			usleep(10);
	}
	pthread_join(producer, NULL);
	/* The producer may have looked just before the end. */
	while (tracefs_read(line, sizeof(line), 0) == TRACEFS_LINE)
		nr_read++;
	assert_int_equal(nr_read, nr_written);
	assert_false(is_on());
	*instance = '\0';
	tracefs_close();
	close(events);

	return result;
}

static void deadline_ends_it(void **state)
{
	(void)state;
	assert_int_equal(trace(0.3, 0, -1), TRACEFS_TIMEOUT);
	assert_true(tracefs_seconds() >= 0.3 && tracefs_seconds() < 3);
}

static void signal_ends_it(void **state)
{
	(void)state;
	assert_int_equal(trace(600, 1000, -1), TRACEFS_SIGNAL);
}

static void end_of_the_process_ends_it(void **state)
{
	pid_t child = fork();
	int process;

	(void)state;
	if (!child)
		_exit(0);
	process = syscall(SYS_pidfd_open, child, 0);
	assert_true(process >= 0);
	assert_int_equal(trace(600, 0, process), TRACEFS_ENDED);
	close(process);
	waitpid(child, NULL, 0);
}

static int make_directory(void **state)
{
	char path[64];
	int fd;

	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/tracing_on", directory);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? -1 : close(fd);
}

static int remove_directory(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/tracing_on", directory);
	unlink(path);
	return rmdir(directory);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(deadline_ends_it),
		cmocka_unit_test(signal_ends_it),
		cmocka_unit_test(end_of_the_process_ends_it),
	};

	return cmocka_run_group_tests_name("tracefs", tests, make_directory, remove_directory);
}
