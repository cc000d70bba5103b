// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* gmem map: the command line, and where the picture goes; map.h has the rest. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "map.h"
#include "output.h"
#include "parse.h"
#include "proc.h"
#include "wait.h"

struct arguments {
	const char *output;
	unsigned long columns;
	double interval;
	bool demo;
	bool json;
	bool follow;
	bool help;
	const char *file;
	/* The process, which replaces a file if it is not 0; its descriptor, or PARSE_ANY. */
	pid_t pid;
	int fd;
};

static bool is_png(const char *name)
{
	const char *dot = strrchr(name, '.');

	if (!dot || (strcmp(dot, ".svg") && strcmp(dot, ".png")))
		die_usage("'%s' is neither .svg nor .png", name);
	return !strcmp(dot, ".png");
}

/* To a file, or to standard output after @before. */
static void write_pictures(const struct arguments *args, const struct picture *pictures, size_t nr,
			   const char *before)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		die("no memory");
	fputs(before, to);
	if (args->output)
		(is_png(args->output) ? map_draw_png : map_draw_svg)(to, pictures, nr);
	else if (args->json)
		map_print_json(to, pictures, nr);
	else
		map_print(to, pictures, nr, output_knows_escapes() && !getenv("NO_COLOR"));
	if (fclose(to))
		die("no memory");
	output_write(args->output, text, size);
	free(text);
}

static void free_pictures(struct picture *pictures, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		picture_free(&pictures[i]);
	free(pictures);
}

static size_t look(const struct arguments *args, struct picture **pictures)
{
	const char *problem;
	size_t nr = map_vm(args->pid, args->fd, args->columns, pictures, &problem);

	if (!nr && !errno)
		die_unsupported(problem);
	if (!nr && errno == ESRCH)
		errno = 0;
	if (!nr)
		die("%s", problem);
	return nr;
}

/* Draw it repeatedly, until the process ends or closes the file, or a signal arrives. */
static void follow(const struct arguments *args)
{
	struct pollfd ended = { .fd = proc_open(args->pid), .events = POLLIN };
	bool in_place = output_knows_escapes() && !args->json;
	const char *before = in_place ? "\033[H\033[J" : "", *problem;
	struct picture *pictures;
	size_t nr;

	nr = look(args, &pictures);
	wait_catch(true);
	do {
		write_pictures(args, pictures, nr, before);
		free_pictures(pictures, nr);
		if (!in_place && !args->json)
			before = "\n";
		if (wait_for(&ended, 1, wait_deadline(args->interval)) || wait_is_ended())
			break;
		nr = map_vm(args->pid, args->fd, args->columns, &pictures, &problem);
	} while (nr);
	close(ended.fd);
}

/* PID or PID:FD; a file of such a name is ./PID. */
static bool is_process(const char *text)
{
	return isdigit((unsigned char)*text) && !text[strspn(text, "0123456789:")];
}

static void usage(void)
{
	printf("usage: gmem map [OPTION]... PID[:FD]|FILE|-|--demo\n"
	       "Draw the states of a running VM's memory: of all guest_memfds of the process PID, or of\n"
	       "its descriptor FD; or those in a FILE, whose lines are START END private|shared, in\n"
	       "bytes.\n"
	       "  -w, --width COLUMNS     cells in a row, 1 to %d (default 64)\n"
	       "  -o, --output FILE       write a file whose name ends in .svg or .png\n"
	       "  -f, --follow            draw the VM repeatedly, until it ends\n"
	       "      --interval SECONDS  between two pictures (default 1)\n"
	       "      --json              print an array of objects, one for each file\n"
	       "      --demo              draw a memory after some conversions\n"
	       "  -h, --help              print this help\n", MAP_MAX_COLUMNS);
}

/* False if the command line is wrong, which getopt() has reported. */
static bool parse(int argc, char **argv, struct arguments *args)
{
	static const struct option options[] = {
		{ "demo", no_argument, NULL, 'd' },
		{ "width", required_argument, NULL, 'w' },
		{ "output", required_argument, NULL, 'o' },
		{ "follow", no_argument, NULL, 'f' },
		{ "interval", required_argument, NULL, 'i' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	int c;

	while ((c = getopt_long(argc, argv, "w:o:fh", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			args->demo = true;
			break;
		case 'w':
			args->columns = parse_number(optarg, "a number of columns");
			if (args->columns < 1 || args->columns > MAP_MAX_COLUMNS)
				die_usage("'%s' columns, where 1 to %d are possible", optarg,
					  MAP_MAX_COLUMNS);
			break;
		case 'o':
			args->output = optarg;
			is_png(optarg);
			break;
		case 'f':
			args->follow = true;
			break;
		case 'i':
			args->interval = parse_seconds(optarg, 0.01, PARSE_DAY);
			break;
		case 'j':
			args->json = true;
			break;
		case 'h':
			args->help = true;
			return true;
		default:
			return false;
		}
	}
	if (argc - optind != (args->demo ? 0 : 1))
		die_usage("map takes one PID, PID:FD or FILE, or --demo");
	if (args->demo)
		return true;

	args->file = argv[optind];
	if (!is_process(args->file))
		return true;
	parse_file(args->file, &args->pid, &args->fd);
	return true;
}

int cmd_map(int argc, char **argv)
{
	struct arguments args = { .columns = 64, .interval = 1 };
	struct picture *pictures;
	size_t nr = 1;

	if (!parse(argc, argv, &args))
		return EXIT_USAGE;
	if (args.help) {
		usage();
		return EXIT_OK;
	}
	if (args.json && args.output)
		die_usage("--json goes to standard output, and no picture with it");
	if (args.follow && (!args.pid || args.output))
		die_usage("--follow draws a running VM, and no picture");
	if (args.follow) {
		follow(&args);
		return EXIT_OK;
	}

	if (args.pid) {
		nr = look(&args, &pictures);
	} else {
		pictures = calloc(1, sizeof(*pictures));
		if (!pictures)
			die("a picture");
		if (args.demo)
			map_demo(pictures, args.columns);
		else
			map_file(pictures, args.file, args.columns);
	}
	write_pictures(&args, pictures, nr, "");
	free_pictures(pictures, nr);

	return EXIT_OK;
}
