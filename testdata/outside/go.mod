module example.com/outside

go 1.26.0

require github.com/ringcore/ringcore v0.0.0
