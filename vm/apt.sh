# SPDX-License-Identifier: GPL-2.0
# An apt of the project's own: the mirrors are those that the system's apt uses, the
# signatures are checked with Debian's keyring, and neither the system's apt nor its
# list of architectures is touched.  Sourced after vm/common.sh.
# shellcheck shell=bash

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

apt_options()
{
	local state=$1 architecture=$2
	cat <<-END
		Dir::State "$state/state";
		Dir::State::status "$state/status";
		Dir::Cache "$state/cache";
		Dir::Etc::sourcelist "$state/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		APT::Default-Release "";
		APT::Get::List-Cleanup "true";
		Acquire::Languages "none";
		DPkg::Post-Invoke {};
	END
	[ -z "$architecture" ] || cat <<-END
		APT::Architecture "$architecture";
		#clear APT::Architectures;
		APT::Architectures { "$architecture"; };
	END
}

# own_apt DIRECTORY [ARCHITECTURE]: prepare it; "own" runs its commands.
own_apt()
{
	OWN_APT=$1
	[ -e "$KEYRING" ] || "$TOP/vm/packages" debian-archive-keyring
	mkdir -p "$OWN_APT"/{state/lists/partial,cache/archives/partial}
	: >"$OWN_APT/status"
	apt_options "$1" "${2:-}" >"$OWN_APT/apt.conf"
}

own()
{
	APT_CONFIG=$OWN_APT/apt.conf "$@"
}

# use_suites: the lines "SITE SUITE" on standard input become the sources.
use_suites()
{
	awk -v keyring="$KEYRING" '{ print "deb [signed-by=" keyring "] " $1 " " $2 " main" }' \
		>"$OWN_APT/sources.list"
	own apt-get update -q
}

# What the system's apt has of Debian itself, no third party: SITE LABEL SUITE CODENAME.
debian_targets()
{
	# apt expands these, not the shell.
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(ORIGIN) $(SITE) $(LABEL) $(RELEASE) $(CODENAME)' |
		awk '$1 == "Debian" { print $2, $3, $4, $5 }' | uniq
}

# own_download DIRECTORY PACKAGE...: of the release that the system runs.  The system may
# know other releases, too; their programs and libraries want another libc.
own_download()
{
	local directory=$1 VERSION_CODENAME=
	shift
	. /etc/os-release
	debian_targets | awk -v own="$VERSION_CODENAME" \
		'$4 == own || $4 == own "-updates" || $4 == own "-security" { print $1, $3 }' \
		>"$OWN_APT/suites"
	[ -s "$OWN_APT/suites" ] || die "apt knows no mirror of this release of Debian: run 'apt-get update'"
	use_suites <"$OWN_APT/suites"
	(cd "$directory" && own apt-get download -q "$@")
}
