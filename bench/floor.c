/*
 * The physical limit: adverts sent and received with no protocol around them.
 *
 *     floor send ROUTERS INTERFACES SECONDS
 *     floor receive SECONDS
 *
 * Sends ROUTERS adverts a second over eth0 .. eth(INTERFACES-1), as frames for a packet socket that
 * receives nothing, 256 to a system call; or receives with one raw socket for all interfaces, 64 to
 * a system call. Prints how many adverts it were and the processor time of each in nanoseconds. That
 * of a receiver on a veth pair does not have the interrupt's: the sender has it.
 *
 *     cc -O2 -o floor floor.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    SEND_BATCH = 256,
    RECEIVE_BATCH = 64,
    FRAME = 14 + 20 + 20, /* Ethernet, IPv4, a VRRPv2 advert of one address (RFC 3768 5.1) */
    PROTO_VRRP = 112,
};

static int64_t now(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint16_t checksum(const uint8_t *data, int size)
{
    uint32_t sum = 0;
    for (int i = 0; i < size; i += 2)
        sum += data[i] << 8 | data[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

static void put16(uint8_t *place, uint16_t value)
{
    place[0] = value >> 8;
    place[1] = value;
}

static void build(uint8_t *frame, int interface, int vrid)
{
    static const uint8_t ethernet[14] = {1, 0, 0x5e, 0, 0, 18, 2, 0, 0, 0, 0, 1, 8, 0};
    uint8_t *ip = frame + 14, *vrrp = ip + 20;
    memset(frame, 0, FRAME);
    memcpy(frame, ethernet, 14);
    ip[0] = 0x45;
    put16(ip + 2, FRAME - 14);
    put16(ip + 6, 0x4000);
    ip[8] = 255;
    ip[9] = PROTO_VRRP;
    memcpy(ip + 12, (uint8_t[]){10, interface >> 8, interface, 1, 224, 0, 0, 18}, 8);
    put16(ip + 10, checksum(ip, 20));
    memcpy(vrrp, (uint8_t[]){0x21, vrid, 200, 1, 0, 1}, 6);
    memcpy(vrrp + 8, (uint8_t[]){10, 64 + (interface >> 8), interface, vrid}, 4);
    put16(vrrp + 6, checksum(vrrp, 20));
}

static int64_t send_for(int routers, int interfaces, int seconds)
{
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    uint8_t *frames = malloc((size_t)routers * FRAME);
    struct sockaddr_ll *names = calloc(routers, sizeof(*names));
    struct iovec *vectors = calloc(routers, sizeof(*vectors));
    struct mmsghdr *messages = calloc(routers, sizeof(*messages));
    int buffer = 16 << 20;
    int64_t sent = 0;
    if (fd < 0)
        fail("packet socket");
    if (!frames || !names || !vectors || !messages)
        fail("memory");
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
    for (int i = 0; i < routers; i++) {
        /* Interface by interface, as a daemon's configuration has them. */
        int interface = (int64_t)i * interfaces / routers;
        char name[IF_NAMESIZE];
        snprintf(name, sizeof(name), "eth%d", interface);
        build(frames + (size_t)i * FRAME, interface, i % 255 + 1);
        names[i].sll_family = AF_PACKET;
        names[i].sll_protocol = htons(0x0800);
        names[i].sll_ifindex = if_nametoindex(name);
        if (!names[i].sll_ifindex)
            fail(name);
        names[i].sll_halen = 6;
        vectors[i].iov_base = frames + (size_t)i * FRAME;
        vectors[i].iov_len = FRAME;
        messages[i].msg_hdr.msg_name = &names[i];
        messages[i].msg_hdr.msg_namelen = sizeof(names[i]);
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    int64_t began = now(CLOCK_MONOTONIC), spent = now(CLOCK_PROCESS_CPUTIME_ID);
    for (int second = 0; second < seconds; second++) {
        int64_t due = began + second * 1000000000LL;
        struct timespec at = {due / 1000000000, due % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        for (int done = 0; done < routers;) {
            int batch = routers - done < SEND_BATCH ? routers - done : SEND_BATCH;
            int count = sendmmsg(fd, messages + done, batch, 0);
            if (count < 0 && errno != EINTR)
                fail("sendmmsg");
            done += count > 0 ? count : 0;
            sent += count > 0 ? count : 0;
        }
    }
    spent = now(CLOCK_PROCESS_CPUTIME_ID) - spent;
    printf("%lld %.1f\n", (long long)sent, (double)spent / sent);
    return sent;
}

static int64_t receive_for(int seconds)
{
    static uint8_t data[RECEIVE_BATCH][512];
    static uint8_t control[RECEIVE_BATCH][128];
    static struct iovec vectors[RECEIVE_BATCH];
    static struct mmsghdr messages[RECEIVE_BATCH];
    int fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, PROTO_VRRP);
    int yes = 1, buffer = 16 << 20;
    int64_t received = 0;
    if (fd < 0)
        fail("raw socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &yes, sizeof(yes));
    for (int i = 0; i < RECEIVE_BATCH; i++) {
        vectors[i].iov_base = data[i];
        vectors[i].iov_len = sizeof(data[i]);
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_control = control[i];
    }
    int64_t until = now(CLOCK_MONOTONIC) + seconds * 1000000000LL;
    int64_t spent = now(CLOCK_PROCESS_CPUTIME_ID), left;
    puts("ready");
    fflush(stdout);
    while ((left = until - now(CLOCK_MONOTONIC)) > 0) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, left / 1000000 + 1) <= 0)
            continue;
        int count;
        do {
            for (int i = 0; i < RECEIVE_BATCH; i++)
                messages[i].msg_hdr.msg_controllen = sizeof(control[i]);
            count = recvmmsg(fd, messages, RECEIVE_BATCH, 0, NULL);
            received += count > 0 ? count : 0;
        } while (count == RECEIVE_BATCH);
    }
    spent = now(CLOCK_PROCESS_CPUTIME_ID) - spent;
    printf("%lld %.1f\n", (long long)received, received ? (double)spent / received : 0.0);
    return received;
}

int main(int count, char **words)
{
    if (count == 5 && !strcmp(words[1], "send"))
        return send_for(atoi(words[2]), atoi(words[3]), atoi(words[4])) == 0;
    if (count == 3 && !strcmp(words[1], "receive"))
        return receive_for(atoi(words[2])) == 0;
    fprintf(stderr, "usage: floor send ROUTERS INTERFACES SECONDS | floor receive SECONDS\n");
    return 2;
}
