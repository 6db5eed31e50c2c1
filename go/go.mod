module labkit

go 1.18
