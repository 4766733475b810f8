class Sysctls:
    def restore(self):
        pass


def forwards_ipv6(name):
    return False
