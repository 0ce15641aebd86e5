# Functions that ./run and ./check share. Sourced by sh with $here, the root of the tree, set; POSIX sh.
# shellcheck shell=sh disable=SC2154 # $here

# Tools that were unpacked rather than installed (scripts/packages) come last in PATH; some live in sbin folders.
given_pkg_config_path=${PKG_CONFIG_PATH:-}
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:$here/build/deps/tools/usr/bin:$here/build/deps/tools/usr/sbin
export PATH

# What scripts/deps unpacked earlier is there for the probes.
for folder in "$here"/build/deps/root/usr/lib/*/pkgconfig; do
    [ -d "$folder" ] && export PKG_CONFIG_PATH="$folder${given_pkg_config_path:+:$given_pkg_config_path}"
done

say() { printf 'ringmain: %s\n' "$*" >&2; }

# Ends the script with an exit code and a reason.
die() {
    code=$1
    shift
    say "$*"
    exit "$code"
}

cores() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1; }

# ------------------------------------------------------------------------------------------------------ packages ----

probe() { # cmd:NAME | pc:NAME[>=V] | header:PATH | fuzzer | postgres
    what=${1#*:}
    case $1 in
    cmd:*) command -v "$what" > /dev/null ;;
    pc:*'>='*) pkg-config --atleast-version="${what#*>=}" "${what%%>=*}" 2> /dev/null ;;
    pc:*) pkg-config --exists "$what" 2> /dev/null ;;
    header:*) echo "#include <$what>" | cc -E -o /dev/null -x c - 2> /dev/null ;;
    fuzzer) has_fuzzer ;;
    postgres) "$here/scripts/postgres" where > /dev/null 2>&1 ;;
    *) die 70 "scripts/packages: unknown probe '$1'" ;;
    esac
}

has_fuzzer() {
    command -v clang > /dev/null || return 1
    ls "$(clang --print-runtime-dir)"/libclang_rt.fuzzer*.a "$(clang --print-resource-dir)"/lib/linux/libclang_rt.fuzzer*.a \
        2> /dev/null | grep -q .
}

# Never asks for a password without a terminal.
may_be_root() {
    [ "$(id -u)" = 0 ] ||
        { command -v sudo > /dev/null && { sudo -n true 2> /dev/null || { [ -t 0 ] && [ -z "${CI:-}" ]; }; }; }
}

# Runs a command as root; fails when that is not possible.
as_root() {
    may_be_root || return 1
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_candidate() { # package: prints its version, fails when apt has none
    version=$(LC_ALL=C apt-cache policy "$1" 2> /dev/null | sed -n 's/^ *Candidate: *//p')
    [ -n "$version" ] && [ "$version" != '(none)' ] && echo "$version"
}

# The first of NAME[>=V]|... that apt has, new enough; "+deps" as it is; fails when there is none.
choose_package() {
    for choice in $(echo "$1" | tr '|' ' '); do
        [ "$choice" = +deps ] && echo "$choice" && return 0
        name=${choice#*:}
        candidate=$(apt_candidate "${name%%>=*}") || continue
        case $name in
        *'>='*) dpkg --compare-versions "$candidate" ge "${name#*>=}" || continue ;;
        esac
        echo "${choice%%>=*}"
        return 0
    done
    return 1
}

# The libraries among the dependencies of a package that are not installed.
libraries_of() {
    LC_ALL=C apt-cache depends "$1" 2> /dev/null | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p' | while read -r library; do
        dpkg-query -W -f '${Status}\n' "$library" 2> /dev/null | grep -q 'ok installed' || echo "$library"
    done
}

# Fetches a package and its libraries and unpacks them under build/deps/tools: nothing is configured, nothing is started.
unpack_package() {
    tools=$here/build/deps/tools
    mkdir -p "$tools"
    # shellcheck disable=SC2046 # names
    (cd "$tools" && rm -f ./*.deb && apt-get -q download "$1" $(libraries_of "$1") > apt.log 2>&1 &&
        for file in ./*.deb; do dpkg-deb -x "$file" . || exit 1; done && rm -f ./*.deb)
}

install_packages() { # names; output is shown only when it fails
    mkdir -p "$here/build/deps"
    log=$here/build/deps/install.log
    say "installing: $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@" < /dev/null > "$log" 2>&1 ||
        { tail -n 15 "$log" >&2; return 1; }
}

# Installs a package of Debian's PostgreSQL. Its scripts create a cluster of the system's own and start it, unless this
# file says that they must not: for as long as they run it does. What it said before is put back; when there was none, the one
# that the package brings stays, as if it had been installed without us.
cluster_conf=/etc/postgresql-common/createcluster.conf
install_without_cluster() { # names
    saved=$here/build/deps/createcluster.conf
    mkdir -p "$here/build/deps"
    rm -f "$saved"
    [ ! -f "$cluster_conf" ] || cp "$cluster_conf" "$saved"
    as_root sh -c "mkdir -p '${cluster_conf%/*}' && echo 'create_main_cluster = false' >> '$cluster_conf'" || return 1
    installed=0
    install_packages "$@" || installed=1
    [ -f "$saved" ] || saved=/usr/share/postgresql-common/createcluster.conf
    if [ -f "$saved" ]; then
        as_root cp "$saved" "$cluster_conf"
    else
        as_root rm -f "$cluster_conf"
    fi
    return $installed
}

# Refreshes apt's lists, once, and only when a package that is needed is not in them.
refresh_lists() {
    say "refreshing apt's lists"
    as_root apt-get -q update < /dev/null > /dev/null 2>&1 || say "apt-get update failed; going on with the lists that are there"
}

# Prints "probe package" lines of a word whose probe fails.
missing_of() {
    while read -r word what package; do
        [ "$word" = "$1" ] || continue
        probe "$what" || echo "$what $package"
    done < "$here/scripts/packages"
}

# Sorts what is missing into $required, $optional (to install), $nocluster, $unpack and $unknown (apt has none).
sort_missing() { # lines of missing_of
    required='' optional='' nocluster='' unpack='' unknown=''
    while read -r what package; do
        [ -n "$what" ] || continue
        wanted=${package#\?}
        if ! choice=$(choose_package "$wanted"); then
            [ "$wanted" != "$package" ] || unknown="$unknown $wanted"
        elif [ "${choice#unpack:}" != "$choice" ]; then
            unpack="$unpack ${choice#unpack:}"
        elif [ "${choice#nocluster:}" != "$choice" ]; then
            nocluster="$nocluster ${choice#nocluster:}"
        elif [ "$choice" = +deps ]; then
            :
        elif [ "$wanted" = "$package" ]; then
            required="$required $choice"
        else
            optional="$optional $choice"
        fi
    done <<LINES
$1
LINES
}

# The packages that other words of this run will ask for, so that who installs by hand does it once; subshell.
also_missing() { # the word that is being asked for; $needs: all words of this run
    (for word in ${needs:-}; do
        [ "$word" != "$1" ] || continue
        sort_missing "$(missing_of "$word")"
        printf '%s' "$required$nocluster$optional"
    done)
}

# Makes sure that everything a word needs is there, installing what is missing. Exits with 69 and the list if it cannot be.
need() { # word
    missing=$(missing_of "$1")
    [ -n "$missing" ] || return 0
    if ! command -v apt-get > /dev/null; then
        needed=$(echo "$missing" | grep -v ' ?' || true)
        [ -z "$needed" ] || die 69 "this system has no apt; install what gives:" \
            "$(echo "$needed" | sed 's/ .*//' | tr '\n' ' ')(Debian's names are in scripts/packages)"
        return 0
    fi
    sort_missing "$missing"
    if [ -n "$unknown" ]; then
        may_be_root || die 69 "please refresh apt's lists, as root: apt-get update (they have nothing for:$unknown)"
        refresh_lists
        sort_missing "$missing"
        [ -z "$unknown" ] || die 69 "apt has no package for:$unknown"
    fi
    if [ -n "$required$optional$nocluster" ] && ! may_be_root; then
        [ -z "$required$nocluster" ] || die 69 "please install, as root:" \
            "apt-get install$required$nocluster$(also_missing "$1") (this user can't: no root, and no sudo without a password)"
        say "going on without:$optional (this user can't install)"
        optional=''
    fi
    # shellcheck disable=SC2086 # lists of words
    [ -z "$required" ] || install_packages $required || { refresh_lists; install_packages $required; } ||
        die 69 "please install, as root: apt-get install$required"
    # shellcheck disable=SC2086
    [ -z "$optional" ] || install_packages $optional || say "going on without:$optional"
    # shellcheck disable=SC2086
    [ -z "$nocluster" ] || install_without_cluster $nocluster || { refresh_lists; install_without_cluster $nocluster; } ||
        die 69 "please install, as root: apt-get install$nocluster (it creates a cluster of the system's own, which is not needed)"
    for package in $unpack; do
        unpack_package "$package" || say "going on without: $package"
    done
}

# PostgreSQL, for those who can go on without it. False, after a line that says why, when it can't be had.
need_database() {
    (need database) || { say "going on without PostgreSQL"; return 1; }
}

# All that building needs.
need_core() {
    need core
    path=$("$here/scripts/deps") || exit $?
    export PKG_CONFIG_PATH="$path"
}

# ------------------------------------------------------------------------------------------------------- building ----

# The word of a list that is nearest to a given one; nothing when none is near. For "did you mean".
nearest() { # given word, list
    awk -v given="$1" -v list="$2" '
        function min(a, b) { return a < b ? a : b }
        function distance(a, b,   i, j, above, here, row) {
            for (j = 0; j <= length(b); j++) row[j] = j
            for (i = 1; i <= length(a); i++) {
                above = row[0]; row[0] = i
                for (j = 1; j <= length(b); j++) {
                    here = row[j]
                    row[j] = min(min(row[j], row[j - 1]) + 1, above + (substr(a, i, 1) != substr(b, j, 1)))
                    above = here
                }
            }
            return row[length(b)]
        }
        BEGIN {
            best = 3
            n = split(list, words, " ")
            for (k = 1; k <= n; k++)
                if ((d = distance(given, words[k])) < best) { best = d; word = words[k] }
            print word
        }'
}

# A child in the background can be ended by a trap; one in the foreground has the terminal's signals.
run() { # command; $idly: when nothing else wants a processor, as $child
    if [ -z "${idly:-}" ]; then
        "$@"
    else
        # shellcheck disable=SC2086 # a command and its arguments
        $idly "$@" &
        child=$!
        wait "$child"
    fi
}

# Configures a build folder if need be, again when its options or the defaults in meson.build changed, and compiles it.
build() { # folder, meson options; $build_targets: some, $build_tests: what those tests need (arguments of meson test), or all
    folder=$1
    shift
    stamp=$folder/.options
    options="$* $(cksum < "$here/meson.build")"
    if [ "$(cat "$stamp" 2> /dev/null)" != "$options" ] || [ ! -f "$folder/build.ninja" ]; then
        rm -rf "$folder/meson-private" "$folder/meson-info" "$folder/build.ninja" "$stamp"
        mkdir -p "$folder"
        run meson setup "$folder" "$here" "$@" > "$folder/setup.log" 2>&1 ||
            { tail -n 15 "$folder/setup.log" >&2; return 1; }
        echo "$options" > "$stamp"
    fi
    # First what the build files themselves say by now: which tests there are.
    # shellcheck disable=SC2086 # a list of arguments
    [ -z "${build_tests:-}" ] || { run ninja -C "$folder" build.ninja > "$folder/ninja.log" 2>&1 &&
        build_targets=$("$here/scripts/test-targets" "$folder" $build_tests); } || { cat "$folder/ninja.log" >&2; return 1; }
    # shellcheck disable=SC2086 # a list of targets
    run ninja -C "$folder" ${build_targets:-} > "$folder/ninja.log" 2>&1 || { grep -v '^\[' "$folder/ninja.log" >&2; return 1; }
}

# Tests wait more than they work. Meanwhile the configurations that come next are built, with the time that nobody else wants.
ahead=''
idle_class='nice -n 19'
! chrt --idle 0 true 2> /dev/null || idle_class='chrt --idle 0'

build_ahead() { # names, for each of which there is a function build_NAME that has no subshells: the trap is this shell's own
    (
        idly=$idle_class child=''
        trap 'kill $child 2> /dev/null || true; wait; exit 1' TERM
        for next in "$@"; do "build_$next" || true; done
    ) > "$here/build/ahead.log" 2>&1 &
    ahead=$!
}

# What is done then is done; the rest is built in the foreground, which also says what went wrong.
stop_ahead() {
    [ -n "$ahead" ] || return 0
    kill "$ahead" 2> /dev/null || true
    wait "$ahead" 2> /dev/null || true
    ahead=''
}
