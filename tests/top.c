// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * In the machine: VMs in separate processes that convert at known rates, and what
 * "gmem top" and "gmem stat" say of them.  TAP.  The command is beside this program.
 *
 *   top             the cases
 *   top metrics     what "gmem stat --openmetrics" prints, for promtool
 */
#include <sys/mount.h>

#include "command.h"
#include "tap.h"
#include "vm_process.h"

/* How far the time in a sample may be from that of reading the counters; seconds. */
#define SLACK		0.4
#define USER		1000

/* ---- What the command says ----------------------------------------------------- */

/* Start gmem as @user; the file has its output. */
static FILE *command(uid_t user, pid_t *pid, char *const *argv)
{
	int ends[2];

	check(sys(pipe2(ends, O_CLOEXEC)), "pipe");
	*pid = begin_as(user, ends[1], argv);

	return fdopen(ends[0], "r");
}

/* Its whole output, which the caller frees; NULL if it failed. */
static char *output(uid_t user, char *const *argv)
{
	char *text = NULL;
	size_t room = 0;
	int status;
	pid_t pid;
	FILE *f;

	f = command(user, &pid, argv);
	if (getdelim(&text, &room, '\0', f) < 0 && text)
		text[0] = '\0';
	fclose(f);
	status = end_command(pid);
	if (!text || status) {
		printf("# gmem %s: exit status %d\n", argv[1], status);
		free(text);
		return NULL;
	}

	return text;
}

/* The object of the VMs of a process, or NULL. */
static const char *find_vm(const char *json, pid_t pid)
{
	char key[64];

	snprintf(key, sizeof(key), "{ \"pid\": %d, \"name\": \"top\"", pid);
	return json ? strstr(json, key) : NULL;
}

/* The number at @key, after @after if that is not NULL; -1 if there is none. */
static double value(const char *json, const char *after, const char *key)
{
	char quoted[64];

	if (json && after) {
		snprintf(quoted, sizeof(quoted), "\"%s\": {", after);
		json = strstr(json, quoted);
	}
	snprintf(quoted, sizeof(quoted), "\"%s\": ", key);
	json = json ? strstr(json, quoted) : NULL;

	return json ? strtod(json + strlen(quoted), NULL) : -1;
}

static unsigned int nr_files(const char *vm)
{
	/* Up to the next VM. */
	const char *end = vm ? strstr(strstr(vm, "\"name\"") + 1, ", \"name\": ") : NULL;
	unsigned int nr = 0;

	for (; vm && (vm = strstr(vm, "{ \"ino\": ")) && (!end || vm < end); vm++)
		nr++;
	return nr;
}

static bool is_within(const char *what, double low, double is, double high)
{
	bool ok = is >= low - 0.01 && is <= high + 0.01;

	printf("# %s: %.1f, which may be %.0f to %.0f\n", what, is, low, high);
	return ok;
}

/* ---- The cases ----------------------------------------------------------------- */

static void sizes(const struct process *process, const char *json, const char *name)
{
	const char *vm = find_vm(json, process->pid);
	double pages = PAGES + process->plan.nr_files - 1, nr_vms = process->plan.nr_vms;
	double private = NR_PRIVATE * nr_vms;
	bool ok = vm;

	ok &= is_within("files", nr_vms * process->plan.nr_files, nr_files(vm),
			nr_vms * process->plan.nr_files);
	ok &= is_within("VMs", nr_vms, value(vm, NULL, "vms"), nr_vms);
	ok &= is_within("pages", nr_vms * pages, value(vm, NULL, "size") / PAGE, nr_vms * pages);
	ok &= is_within("private pages", private, value(vm, NULL, "private") / PAGE, private + 1);
	ok &= value(vm, NULL, "private") + value(vm, NULL, "shared") == value(vm, NULL, "size");
	ok &= value(vm, NULL, "gpa") == DATA_GPA;
	result(ok, "sizes_of_%s_are_true", name);
}

/* How much was counted since @rest, a sample from before the first step. */
static double counted(const struct process *process, const char *rest, const char *json,
		      const char *counter)
{
	return value(find_vm(json, process->pid), "counters", counter) -
	       value(find_vm(rest, process->pid), "counters", counter);
}

/* @before and @after: the steps when the command started and when it had ended. */
static void counters(const struct process *process, const char *rest, const char *json,
		     unsigned int before, unsigned int after, const char *name)
{
	double refused = process->plan.is_refused;
	bool ok = find_vm(rest, process->pid) && find_vm(json, process->pid);

	/* A step in progress may have been counted in part. */
	ok &= is_within("to private", before, counted(process, rest, json, "conversions_to_private"),
			after + 1);
	ok &= is_within("to shared", before, counted(process, rest, json, "conversions_to_shared"),
			after + 1);
	ok &= is_within("refused", before * refused, counted(process, rest, json, "refused_held"),
			(after + 1) * refused);
	result(ok, "counters_of_%s_are_true", name);
}

static void rates(const struct process *process, const char *json, const char *name)
{
	double interval = value(json, NULL, "interval"), end = value(json, NULL, "time");
	double low = steps_between(process, end - interval + SLACK, end - SLACK);
	double high = steps_between(process, end - interval - SLACK, end + SLACK) + 1;
	const char *vm = find_vm(json, process->pid);
	double refused = process->plan.is_refused;
	bool ok = vm && interval > 2 * SLACK;

	ok &= is_within("to private", low, interval * value(vm, "rates", "conversions_to_private"), high);
	ok &= is_within("to shared", low, interval * value(vm, "rates", "conversions_to_shared"), high);
	ok &= is_within("refused", low * refused, interval * value(vm, "rates", "refused_held"),
			high * refused);
	result(ok, "rates_of_%s_are_true", name);
}

static void copied_files(const struct process *process, const char *json)
{
	const char *vm = find_vm(json, process->pid);

	result(vm && value(vm, NULL, "descriptors") == 2 && value(vm, NULL, "vms") == 1 &&
	       value(strstr(vm, "\"ino\""), NULL, "pid") == process->pid,
	       "file_of_two_processes_counts_once");
}

static void metrics(const struct process *process, const char *rest)
{
	unsigned int before = steps(process);
	char *text = output(0, ARGUMENTS("stat", "--openmetrics")), key[128], *at;
	double begun = value(find_vm(rest, process->pid), "counters", "conversions_to_shared");
	double is = -1;

	snprintf(key, sizeof(key), "\ngmem_conversions_total{pid=\"%d\",name=\"top\",direction=\"to_shared\"} ",
		 process->pid);
	at = text ? strstr(text, key) : NULL;
	if (at)
		is = strtod(at + strlen(key), NULL) - begun;
	result(is_within("to shared", before, is, steps(process) + 1), "metrics_are_true");
	free(text);
}

static void thousand_files(void)
{
	struct process many = start((struct plan){ .nr_vms = 1, .nr_files = 1000 });
	double begun = now();
	char *json = output(0, ARGUMENTS("stat", "--json"));

	printf("# %.2f s\n", now() - begun);
	sizes(&many, json, "1000_files");
	free(json);
	end(&many);
}

/* Kill it at different times during a sample. */
static void killed_process(void)
{
	struct process process;
	bool ok = true;
	int status, i;
	char *json;
	pid_t pid;

	for (i = 0; i < 10; i++) {
		process = start((struct plan){ .nr_vms = 1, .nr_files = 100 });
		pid = fork();
		if (!pid) {
			usleep(i * 4000);
			kill(process.pid, SIGKILL);
			_exit(0);
		}
		json = output(0, ARGUMENTS("stat", "--json"));
		ok &= json && strlen(json) > 4 && !strcmp(json + strlen(json) - 4, "] }\n");
		free(json);
		waitpid(pid, &status, 0);
		end(&process);
	}
	result(ok, "process_that_is_killed_is_passed_over");
}

/* A later sample does not have it. */
static void ended_process(void)
{
	struct process process = start((struct plan){ .nr_vms = 1, .nr_files = 1 });
	bool was_there = false, ok = false;
	size_t room = 0;
	char *line = NULL;
	pid_t pid;
	FILE *f;
	int i;

	f = command(0, &pid, ARGUMENTS("top", "--json", "--interval", "0.3"));
	for (i = 0; i < 100 && !ok && getline(&line, &room, f) > 0; i++) {
		ok = was_there && !find_vm(line, process.pid);
		if (!was_there && find_vm(line, process.pid)) {
			was_there = true;
			kill(process.pid, SIGKILL);
		}
	}
	kill(pid, SIGINT);
	fclose(f);
	result(!end_command(pid) && ok, "process_that_has_ended_is_gone_from_the_next_sample");
	free(line);
	end(&process);
}

static void other_user(const struct process *roots)
{
	struct process own = start((struct plan){ .nr_vms = 1, .nr_files = 1, .user = USER });
	char *json = output(USER, ARGUMENTS("stat", "--json"));

	result(find_vm(json, own.pid) && !find_vm(json, roots->pid) &&
	       value(json, NULL, "unseen") > 0, "user_sees_ones_own_alone");
	free(json);
	json = output(0, ARGUMENTS("stat", "--json"));
	result(find_vm(json, own.pid) && find_vm(json, roots->pid), "root_sees_all");
	free(json);
	end(&own);
}

/* This is the last case, as it unmounts debugfs. */
static void without_debugfs(void)
{
	char *json = output(0, ARGUMENTS("stat", "--json")), *text;
	bool ok = value(json, NULL, "without_statistics") == 0;

	free(json);
	check(sys(umount2("/sys/kernel/debug", MNT_DETACH)), "debugfs");
	json = output(0, ARGUMENTS("stat", "--json"));
	text = output(0, ARGUMENTS("stat", "--openmetrics"));
	ok &= value(json, NULL, "without_statistics") >= 3;
	ok &= text && strstr(text, "\ngmem_vms_without_statistics ") && !strstr(text, "\ngmem_conversions_total{");
	free(json);
	free(text);
	text = output(0, ARGUMENTS("stat"));
	ok &= text && strstr(text, "mount -t debugfs");
	free(text);
	result(ok, "missing_statistics_are_said");
}

static void plain_table(void)
{
	char *text = output(0, ARGUMENTS("top", "--once", "--files", "--interval", "0.1"));

	result(text && strstr(text, "PRIVATE") && !strchr(text, '\033'), "table_has_no_escapes");
	free(text);
}

int main(int argc, char **argv)
{
	struct process fast, slow, two;
	unsigned int before[2];
	char *rest, *json;

	(void)argv;
	fast = start((struct plan){ .nr_vms = 1, .nr_files = 1, .steps_per_second = 40, .has_copy = true });
	slow = start((struct plan){ .nr_vms = 1, .nr_files = 3, .steps_per_second = 5, .is_refused = true });
	two = start((struct plan){ .nr_vms = 2, .nr_files = 2 });
	if (argc > 1)
		return execl("./gmem", "gmem", "stat", "--openmetrics", NULL);

	plan("top", 17);
	rest = output(0, ARGUMENTS("stat", "--json"));
	atomic_store(&fast.record->may_step, true);
	atomic_store(&slow.record->may_step, true);
	/* Wait for something to count. */
	while (!steps(&fast) || !steps(&slow))
		usleep(10000);
	before[0] = steps(&fast);
	before[1] = steps(&slow);
	json = output(0, ARGUMENTS("top", "--once", "--json", "--interval", "3"));
	printf("# %s", json ? json : "nothing\n");
	counters(&fast, rest, json, before[0], steps(&fast), "the_fast_one");
	counters(&slow, rest, json, before[1], steps(&slow), "the_slow_one");
	rates(&fast, json, "the_fast_one");
	rates(&slow, json, "the_slow_one");
	rates(&two, json, "those_that_rest");
	sizes(&fast, json, "the_fast_one");
	sizes(&slow, json, "the_slow_one");
	sizes(&two, json, "two_of_one_process");
	copied_files(&fast, json);
	free(json);

	metrics(&fast, rest);
	free(rest);
	plain_table();
	thousand_files();
	killed_process();
	ended_process();
	other_user(&fast);
	without_debugfs();

	return exit_status();
}
