raise RuntimeError("a file that .airflowignore leaves out was imported")
