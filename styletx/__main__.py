from styletx.cli import main

main(prog_name="styletx")
