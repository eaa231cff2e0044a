/*  curvekv: the command. Finds the subcommand, reads its options, runs it.  */
#include "node/commands/command.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static const struct ckv_command *const commands[] = {
    &ckv_command_serve,   &ckv_command_register, &ckv_command_resolve, &ckv_command_list,
    &ckv_command_revoke,  &ckv_command_rotate,   &ckv_command_import,  &ckv_command_export,
    &ckv_command_show,    &ckv_command_status,   &ckv_command_forget,  &ckv_command_gateway,
    &ckv_command_connect,
};
enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

static const struct ckv_command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int print_overview(void)
{
    puts("curvekv: a replicated key-value cache of CurveZMQ certificates\n\n"
         "usage: curvekv COMMAND [OPTIONS] ...\n");
    for (size_t i = 0; i < COMMANDS; i++)
        printf("  %-9s  %s\n", commands[i]->name, commands[i]->summary);
    puts("  help       this, or 'curvekv help COMMAND'\n"
         "  version    which version this is; --json: as an object\n"
         "\n"
         "Every command takes --help; those that need a node's directory, --data DIR (default:\n"
         "$CURVEKV_DATA, else ./curvekv-data).\n"
         "\n"
         "Exit status: 0 done, 1 refused or not found, 2 wrong usage, 3 node not reachable,\n"
         "4 done here, but not as far as --ack asked.\n"
         "\n"
         "To begin:\n"
         "  curvekv serve &\n"
         "  curvekv register --organisation ACME --number 42 --out acme42.cert\n"
         "  curvekv list");
    return CKV_EXIT_DONE;
}

static int print_help(const struct ckv_command *command)
{
    printf("%s\n\nusage: curvekv %s [OPTIONS] %s\n\n%s", command->summary, command->name,
           command->operands, command->help);
    return CKV_EXIT_DONE;
}

static int unknown_command(const char *name)
{
    return ckv_complain_usage("there is no command '%s'; 'curvekv help' lists them", name);
}

static int help(int argc, char **argv)
{
    if (argc == 0 || strcmp(argv[0], "help") == 0 || strcmp(argv[0], "version") == 0)
        return print_overview();
    const struct ckv_command *command = find_command(argv[0]);
    return command ? print_help(command) : unknown_command(argv[0]);
}

/*  Secrets pass through this process: no core dump, and no look at it by another one; except by the
    leak checker of an instrumented build.  */
static void keep_secrets(void)
{
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

static int run(const struct ckv_command *command, int argc, char **argv)
{
    struct ckv_arguments arguments;
    int status = ckv_arguments_read(&arguments, command, argc, argv);
    if (status != CKV_EXIT_DONE)
        return status;
    if (arguments.help)
        return print_help(command);
    return command->run(&arguments);
}

static int choose(int argc, char **argv)
{
    if (argc < 2) {
        print_overview();
        return CKV_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc - 2, argv + 2);
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        bool json = argc == 3 && strcmp(argv[2], "--json") == 0;
        if (argc > 2 && !json)
            return ckv_complain_usage("usage: curvekv version [--json]");
        puts(json ? "{\"version\":\"" CKV_VERSION "\"}" : "curvekv " CKV_VERSION);
        return CKV_EXIT_DONE;
    }
    const struct ckv_command *command = find_command(name);
    return command ? run(command, argc - 2, argv + 2) : unknown_command(name);
}

int main(int argc, char **argv)
{
    keep_secrets();
    if (sodium_init() < 0)
        return ckv_complain_usage("libsodium cannot be used on this machine");
    int status = choose(argc, argv);
    /*  A full disk or a closed pipe behind standard output is an error like any other.  */
    if (fflush(stdout) != 0 && status == CKV_EXIT_DONE) {
        perror("curvekv: standard output");
        status = CKV_EXIT_REFUSED;
    }
    return status;
}
