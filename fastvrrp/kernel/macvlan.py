class Macvlans:
    def __init__(self, *a):
        pass

    def make(self, models):
        return {}

    def remove_all(self):
        pass
